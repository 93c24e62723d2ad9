"""What lies beyond an image's edge: the image, mirrored about its outermost pixels."""

from __future__ import annotations

import torch
from torch import Tensor


def fold(position: Tensor, size: int) -> Tensor:
    """Positions on an endless line → [0, size − 1], mirrored at both ends (no pixel twice)."""
    period = 2 * (size - 1)
    position = position.remainder(period)
    return torch.minimum(position, period - position)


def pad(images: Tensor, margin: int) -> Tensor:
    """[N, C, H, W] → [N, C, H + 2·margin, W + 2·margin], for any margin."""
    height, width = images.shape[2:]
    rows, columns = (
        fold(torch.arange(-margin, size + margin, device=images.device), size)
        for size in (height, width)
    )
    return images.index_select(2, rows).index_select(3, columns)
