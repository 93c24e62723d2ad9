"""StyleGAN2's losses and penalties against their definitions."""

import math

import pytest
import torch
from torch import nn

from models_core.stylegan2 import Discriminator, Generator
from models_core.stylegan2.ada import CLASSES, Augmentation
from models_core.stylegan2.loss import (
    discriminator_loss,
    generator_loss,
    path_length_penalty,
    r1_penalty,
)

KWARGS = {"channel_base": 128, "channel_max": 8}


@pytest.fixture
def G() -> Generator:
    torch.manual_seed(0)
    synthesis = {**KWARGS, "use_noise": False}
    return Generator(8, 2, 8, 16, 3, {"num_layers": 2}, synthesis)


@pytest.fixture
def D() -> Discriminator:
    torch.manual_seed(1)
    return Discriminator(2, 16, 3, **KWARGS)


class Linear(nn.Module):
    """D(x) = Σ a x, whose gradient by x is a for every image."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.randn(1, 3, 4, 4))

    def forward(self, image, c):
        return (self.a * image).sum(dim=(1, 2, 3), keepdim=True).flatten(1)


def test_r1_is_half_the_squared_gradient():
    D = Linear()
    real = torch.randn(5, 3, 4, 4, requires_grad=True)
    penalty = r1_penalty(D(real, torch.zeros(5, 0)), real)
    assert penalty.item() == pytest.approx(0.5 * D.a.square().sum().item(), rel=1e-5)
    penalty.backward()
    assert torch.allclose(D.a.grad, D.a, atol=1e-5)


def test_r1_agrees_with_finite_differences(D):
    D = D.double()
    torch.manual_seed(2)
    real, c = torch.randn(1, 3, 16, 16, dtype=torch.double), torch.eye(2, dtype=torch.double)[:1]
    # The mapping computes in float32 by design; its output is a constant here.
    D.mapping.register_forward_pre_hook(lambda module, args: None)
    D.mapping.float()
    x = real.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(D(x, c).sum(), x)
    direction = torch.randn_like(real)
    step = 1e-6
    slope = (D(real + step * direction, c) - D(real - step * direction, c)).item() / (2 * step)
    assert slope == pytest.approx((gradient * direction).sum().item(), rel=1e-4)
    expected = 0.5 * gradient.square().sum().item()
    assert r1_penalty(D(x, c), x).item() == pytest.approx(expected, rel=1e-6)


def test_penalties_reach_the_weights(G, D):
    c = torch.eye(2).repeat(2, 1)
    real = torch.randn(4, 3, 16, 16, requires_grad=True)
    r1_penalty(D(real, c), real).backward()
    assert D.b16.conv0.weight.grad.abs().sum() > 0
    penalty, _ = path_length_penalty(G, G.mapping(torch.randn(4, 8), c), torch.tensor(0.0))
    penalty.backward()
    for parameter in (G.synthesis.b8.conv0.weight, G.synthesis.b4.const, G.mapping.fc0.weight):
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().sum() > 0


class LinearGenerator(nn.Module):
    """G with synthesis(w) = A w at 4x4: its Jacobian is A."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.A = nn.Parameter(torch.randn(48, 6))
        self.layers = layers

    def mapping(self, z, c):
        return z.unsqueeze(1).repeat(1, self.layers, 1)

    def synthesis(self, ws):
        return (ws.sum(dim=1) @ self.A.t()).view(-1, 3, 4, 4)


def test_path_lengths_are_those_of_the_jacobian():
    """‖Jᵀy‖ over one layer's w, with y scaled by 1/√(H W), and the average moved by 1 %."""
    G = LinearGenerator(layers=3)
    z, c, mean = torch.randn(7, 6, requires_grad=True), torch.zeros(7, 0), torch.tensor(2.0)
    torch.manual_seed(3)
    penalty, new_mean = path_length_penalty(G, G.mapping(z, c), mean)
    torch.manual_seed(3)
    y = torch.randn(7, 48) / math.sqrt(16)
    lengths = (y @ G.A).norm(dim=1)  # the same for each of the three layers
    assert new_mean.item() == pytest.approx((mean * 0.99 + lengths.mean() * 0.01).item(), rel=1e-5)
    assert penalty.item() == pytest.approx((lengths - new_mean).square().mean().item(), rel=1e-4)
    assert not new_mean.requires_grad


def test_the_path_penalty_makes_lengths_alike():
    torch.manual_seed(4)
    G = LinearGenerator(layers=1)
    optimizer = torch.optim.Adam(G.parameters(), lr=0.05)
    mean, first, last = torch.tensor(0.0), None, None
    for _ in range(40):
        z = torch.randn(32, 6, requires_grad=True)
        penalty, mean = path_length_penalty(G, G.mapping(z, torch.zeros(32, 0)), mean)
        optimizer.zero_grad()
        penalty.backward()
        optimizer.step()
        first, last = first or penalty.item(), penalty.item()
    assert last < 0.3 * first


def test_the_losses_are_the_logistic_ones():
    on_real, on_fake = torch.randn(6, 1), torch.randn(6, 1)
    expected = -(torch.sigmoid(on_real).log().mean() + (1 - torch.sigmoid(on_fake)).log().mean())
    assert discriminator_loss(on_real, on_fake).item() == pytest.approx(expected.item(), rel=1e-4)
    expected = -torch.sigmoid(on_fake).log().mean()
    assert generator_loss(on_fake).item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("name", CLASSES)
def test_r1_reaches_the_weights_through_each_augmentation(D, name):
    """It is taken by the images before they are augmented, so T must be differentiable twice."""
    torch.manual_seed(5)
    c = torch.eye(2).repeat(2, 1)
    real = torch.randn(4, 3, 16, 16, requires_grad=True)
    r1_penalty(D(Augmentation([name])(real, 0.8), c), real).backward()
    assert D.b16.conv0.weight.grad.abs().sum() > 0
    assert all(p.grad.isfinite().all() for p in D.parameters() if p.grad is not None)
