"""Pixel blitting: mirror, quarter turns, whole-pixel shifts; every pixel is a copy of one.

Executed apart from the general geometry, so that no value is interpolated where none need be.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models_core.stylegan2.ada.draws import chosen, whole
from models_core.stylegan2.ada.edges import fold

SHIFT = 0.125  # of the image's size, at most


def blit(images: Tensor, p: float) -> Tensor:
    """Mirror, turn and shift each image, each with probability p. [N, C, R, R] → the same."""
    n, size = len(images), images.shape[3]
    mirrored, turns = whole(n, p, 2), whole(n, p, 4)
    shifts = (torch.rand(2, n) * 2 - 1) * SHIFT * size
    shifts = torch.where(chosen(n, p), shifts.round().long(), 0)
    return copy_pixels(images, mirrored, turns, shifts)


def copy_pixels(images: Tensor, mirrored: Tensor, turns: Tensor, shifts: Tensor) -> Tensor:
    """Mirror where `mirrored` is 1, then turn by `turns` quarters, then shift by (x, y) pixels.

    Shapes: images [N, C, R, R], mirrored and turns [N], shifts [2, N], all but images integers.
    """
    n, channels, size, _ = images.shape
    line = torch.arange(size)
    y, x = (axis.expand(n, size, size) for axis in torch.meshgrid(line, line, indexing="ij"))
    # From a pixel of the result back to its source, the last transformation first. Coordinates
    # are doubled about the centre, where a quarter turn is exact.
    x = 2 * (x - shifts[0].view(n, 1, 1)) - (size - 1)
    y = 2 * (y - shifts[1].view(n, 1, 1)) - (size - 1)
    quarter = turns.view(n, 1, 1)
    cos = torch.tensor([1, 0, -1, 0])[quarter]
    sin = torch.tensor([0, 1, 0, -1])[quarter]
    x, y = cos * x + sin * y, cos * y - sin * x
    x = torch.where(mirrored.view(n, 1, 1) == 1, -x, x)
    column, row = (fold((axis + size - 1) // 2, size) for axis in (x, y))
    index = (row * size + column).view(n, 1, -1).expand(n, channels, -1).to(images.device)
    return images.flatten(2).gather(2, index).view_as(images)
