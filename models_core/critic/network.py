"""The critic's network: a small residual CNN from a picture to one logit."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Residual(nn.Module):
    """x + conv(silu(norm(x))). Group normalisation: a score must not depend on the batch."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(F.silu(self.norm(x)))


class CriticNetwork(nn.Module):
    """(n, 3, size, size) RGB in [-1, 1] → (n,) logits, high for faultless art.

    Pixels are first unshuffled by two, so that no layer works at the full size: at 128 pixels
    and the default widths 0.46 M parameters and 0.12 G multiplications a picture. The head sees
    both the mean and the maximum over the places, since a fault may fill the picture or be one
    missing eye.
    """

    def __init__(self, size: int = 128, widths: tuple[int, ...] = (32, 64, 96, 128)) -> None:
        super().__init__()
        if any(width % 8 for width in widths):
            raise ValueError(f"widths must be multiples of 8, not {widths}")
        if size % 2 ** len(widths):
            raise ValueError(f"size must be a multiple of {2 ** len(widths)}, not {size}")
        self.size, self.widths = size, tuple(widths)
        layers: list[nn.Module] = [nn.PixelUnshuffle(2), nn.Conv2d(12, widths[0], 3, padding=1)]
        for narrow, wide in pairwise(widths):
            layers += [nn.SiLU(), nn.Conv2d(narrow, wide, 3, stride=2, padding=1), Residual(wide)]
        self.body = nn.Sequential(*layers)
        self.norm = nn.GroupNorm(8, widths[-1])
        self.head = nn.Linear(2 * widths[-1], 1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def cells(self) -> int:
        """Places a side that `features` tells apart."""
        return self.size // 2 ** len(self.widths)

    def features(self, x: Tensor) -> Tensor:
        """(n, 3, size, size) → (n, widths[-1], cells, cells)."""
        return F.silu(self.norm(self.body(x)))

    def score(self, features: Tensor) -> Tensor:
        pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], dim=1)
        return self.head(pooled)[:, 0]

    def forward(self, x: Tensor) -> Tensor:
        return self.score(self.features(x))
