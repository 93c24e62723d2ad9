"""Fréchet and kernel distance, precision and recall, against what is known in closed form."""

import math

import pytest
import torch

from models_core.metrics.frechet import frechet_distance
from models_core.metrics.kernel import kernel_distance
from models_core.metrics.precision_recall import covered, precision_recall


def gaussian(n: int, mean: float, deviations: list[float], seed: int) -> torch.Tensor:
    """n points whose sample mean and covariance are exactly the ones asked for."""
    dice = torch.Generator().manual_seed(seed)
    x = torch.randn(n, len(deviations), generator=dice, dtype=torch.float64)
    x = x - x.mean(0)
    x = x @ torch.linalg.inv(torch.linalg.cholesky(x.T @ x / (n - 1))).T
    return x * torch.tensor(deviations, dtype=torch.float64) + mean


def test_frechet_of_two_known_gaussians():
    a = gaussian(400, 0.0, [1.0, 2.0, 0.5, 3.0], seed=1)
    b = gaussian(300, 1.5, [2.0, 2.0, 1.5, 1.0], seed=2)
    # Covariances that commute: ‖Δμ‖² + Σ(σ₁ − σ₂)².
    expected = 4 * 1.5**2 + 1 + 0 + 1 + 4
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-6)


def test_frechet_of_gaussians_turned_against_each_other():
    """Σ₁ = R diag(9, 1) Rᵀ by 45°, Σ₂ = diag(4, 1): the trace of the root by its 2×2 formula."""
    turn = math.sqrt(0.5) * torch.tensor([[1.0, -1.0], [1.0, 1.0]], dtype=torch.float64)
    a = gaussian(200, 0.0, [3.0, 1.0], seed=3) @ turn.T
    b = gaussian(200, 0.0, [2.0, 1.0], seed=4)
    # tr √M = √(tr M + 2√det M), with M = Σ₁Σ₂, tr M = 5·4 + 5·1 and det M = 9·4.
    root = math.sqrt(25 + 2 * 6)
    assert frechet_distance(a, b) == pytest.approx(10 + 5 - 2 * root, rel=1e-6)


def test_a_set_is_at_no_distance_from_itself():
    """Also where there are fewer pictures than dimensions."""
    x = torch.randn(40, 64, generator=torch.Generator().manual_seed(5)).relu()
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-3)
    # The estimator leaves k(x, x) out within the sets but not between them: 2/n times how much
    # less alike different pictures are.
    alike = (x.double() @ x.double().T / 64 + 1) ** 3
    different = (alike.sum() - alike.trace()) / (40 * 39)
    assert kernel_distance(x, x)[0] == pytest.approx(
        2 / 40 * float(different - alike.trace() / 40), rel=1e-6
    )


def test_kernel_distance_is_unbiased():
    """All of both sets at once, against the estimator's sums written out."""
    dice = torch.Generator().manual_seed(6)
    x = torch.randn(30, 8, generator=dice)
    y = torch.randn(30, 8, generator=dice) + 0.5

    def kernel(a, b):
        return ((a * b).sum() / 8 + 1).item() ** 3

    within = sum(
        kernel(s[i], s[j]) for s in (x, y) for i in range(30) for j in range(30) if i != j
    ) / (30 * 29)
    between = sum(kernel(a, b) for a in x for b in y) / 30**2
    mean, deviation = kernel_distance(x, y, subsets=3)
    assert mean == pytest.approx(within - 2 * between, rel=1e-6)
    assert deviation == pytest.approx(0, abs=1e-9), "every subset is the whole set"


def test_kernel_distance_draws_its_subsets_from_its_seed():
    dice = torch.Generator().manual_seed(7)
    x, y = torch.randn(2, 60, 8, generator=dice)
    state = torch.random.get_rng_state()
    first = kernel_distance(x, y, size=20, seed=1)
    assert kernel_distance(x, y, size=20, seed=1) == first != kernel_distance(x, y, size=20, seed=2)
    assert first[1] > 0
    assert torch.equal(torch.random.get_rng_state(), state), "nobody else's dice are touched"


def test_precision_and_recall_of_identical_and_of_disjoint_sets():
    x = torch.randn(1500, 5, generator=torch.Generator().manual_seed(8))
    assert precision_recall(x, x) == (1.0, 1.0)
    assert precision_recall(x, x + 100) == (0.0, 0.0)


def test_a_collapsed_model_is_precise_and_recalls_little():
    dice = torch.Generator().manual_seed(9)
    real = torch.randn(500, 4, generator=dice)
    collapsed = real[:1] + 0.01 * torch.randn(500, 4, generator=dice)
    precision, recall = precision_recall(real, collapsed)
    assert precision == 1.0 and recall < 0.01


def test_balls_reach_the_kth_neighbour():
    line = torch.tensor([[0.0], [1.0], [2.0], [4.0]])
    # Third neighbours: 4, 3, 2, 4. So 8 is on the edge of 4's ball, and −4 on that of 0.
    points = torch.tensor([[8.0], [8.01], [-4.0], [-4.01]])
    assert covered(points, line, 3) == 0.5
    # Nearest neighbours: 1, 1, 1, 2. Only 4's ball reaches 5.5.
    assert covered(torch.tensor([[5.5], [3.5], [-0.5], [-1.5], [6.5]]), line, 1) == 0.6
    with pytest.raises(ValueError, match="more than 3"):
        covered(points, line[:3], 3)
