"""Fréchet distance between two sets of features, each taken as a Gaussian (Heusel 2017, eq. 6)."""

from __future__ import annotations

from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance


class Features(nn.Module):
    """What torchmetrics takes for its network when features are at hand already."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.num_features = dim

    def forward(self, features: Tensor) -> Tensor:
        return features


def frechet_distance(real: Tensor, made: Tensor) -> float:
    """‖μ₁ − μ₂‖² + Tr(Σ₁ + Σ₂ − 2(Σ₁Σ₂)^½) of features [n, d] and [m, d]; 0 is the same.

    Biased upwards where n is small against d: compare only at equal n.
    """
    distance = FrechetInceptionDistance(Features(real.shape[1]))
    distance.update(real.double(), real=True)
    distance.update(made.double(), real=False)
    return max(float(distance.compute()), 0.0)
