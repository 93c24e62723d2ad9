"""Corruptions: additive noise and a cut-out square."""

from __future__ import annotations

import torch
from torch import Tensor

from models_core.stylegan2.ada.draws import chosen, normal

DEVIATION = 0.1
CUT = 0.5  # of the image's size


def noise(images: Tensor, p: float) -> Tensor:
    """Add N(0, σ²) to every value of an image, with σ half-normal. [N, C, H, W] → the same."""
    deviation = normal(len(images), p, DEVIATION).abs().view(-1, 1, 1, 1)
    return images + (torch.randn(images.shape) * deviation).to(images.device, images.dtype)


def cutout(images: Tensor, p: float) -> Tensor:
    """Set a square of half the size, somewhere around a random centre, to mid-grey (0)."""
    n, _, height, width = images.shape
    cut = chosen(n, p).view(n, 1, 1)
    x, y = torch.rand(2, n, 1, 1)
    column = ((torch.arange(width) + 0.5) / width - x).abs() < CUT / 2
    row = ((torch.arange(height) + 0.5) / height - y.transpose(1, 2)).abs() < CUT / 2
    kept = ~(cut & column & row.transpose(1, 2))
    return images * kept.unsqueeze(1).to(images.device, images.dtype)
