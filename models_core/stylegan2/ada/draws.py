"""Random parameters of augmentations: one row an image, from torch's global CPU generator.

Drawn on the CPU whatever device the images are on, so that a step's draws follow from its seed
alone. Each transformation is applied to an image with probability p, independently of others; one
that is not applied has its neutral value.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def chosen(n: int, p: float) -> Tensor:
    """Which of n images a transformation is applied to. Bool [N]."""
    return torch.rand(n) < p


def uniform(n: int, p: float, low: float, high: float) -> Tensor:
    """U(low, high) with probability p, else 0. [N]"""
    return torch.where(chosen(n, p), torch.rand(n) * (high - low) + low, 0.0)


def normal(n: int, p: float, deviation: float) -> Tensor:
    """N(0, deviation²) with probability p, else 0. [N]"""
    return torch.where(chosen(n, p), torch.randn(n) * deviation, 0.0)


def lognormal(n: int, p: float, deviation: float) -> Tensor:
    """Lognormal(0, (deviation · ln 2)²), that is 2 to a normal power, with probability p, else 1.
    [N]"""
    return torch.exp(normal(n, p, deviation * math.log(2)))


def whole(n: int, p: float, count: int) -> Tensor:
    """One of 0 … count − 1, all alike, with probability p, else 0. Integers [N]."""
    return torch.where(chosen(n, p), torch.randint(count, (n,)), 0)
