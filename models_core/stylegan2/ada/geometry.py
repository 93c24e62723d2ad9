"""General geometry: scaling, rotation, stretching and shifts, in one antialiased resampling.

The image is doubled through the orthogonal wavelet sym6, sampled bilinearly, and halved through
the same filter (Karras 2020b, App. B): without a transformation just the image comes back.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from models_core.stylegan2.ada.draws import chosen, lognormal, uniform
from models_core.stylegan2.ada.edges import fold, pad

# Symlet 6: orthonormal to its own even shifts, sum √2, nearly symmetric (Daubechies 1992).
SYM6 = (
    0.015404109327027373,
    0.0034907120842174702,
    -0.11799011114819057,
    -0.048311742585633,
    0.4910559419267466,
    0.787641141030194,
    0.3379294217276218,
    -0.07263752278646252,
    -0.021060292512300564,
    0.04472490177066578,
    0.0017677118642428036,
    -0.007800708325034148,
)
CENTRE = sum(i * tap for i, tap in enumerate(SYM6)) / sum(SYM6)  # where a pixel comes to lie
MARGIN = 6  # mirrored pixels around the image that the filter reaches into
SCALE, STRETCH, SHIFT = 0.2, 0.2, 0.125


def geometry(images: Tensor, p: float) -> Tensor:
    """Transform each image at random. [N, C, R, R] → the same."""
    return resample(images, inverse_transforms(len(images), p))


def inverse_transforms(n: int, p: float) -> Tensor:
    """From a point of the result to its source, in units of the image's size about its centre.

    [N, 2, 3]. Rotations before and after the stretching are applied with 1 − √(1 − p) each, so
    that one or both are with probability p.
    """
    rotation = 1 - math.sqrt(1 - p)
    size = lognormal(n, p, SCALE)
    before, after = (uniform(n, rotation, -math.pi, math.pi) for _ in range(2))
    stretch = lognormal(n, p, STRETCH)
    shift = torch.where(chosen(n, p), torch.randn(2, n) * SHIFT, 0.0)
    # G = shift · after · stretch · before · size; its inverse is the inverses in turn.
    inverse = torch.diag_embed(torch.stack([1 / size, 1 / size], dim=1))
    inverse = inverse @ _rotation(-before)
    inverse = inverse @ torch.diag_embed(torch.stack([1 / stretch, stretch], dim=1))
    inverse = inverse @ _rotation(-after)
    return torch.cat([inverse, -inverse @ shift.t().unsqueeze(2)], dim=2)


def _rotation(angle: Tensor) -> Tensor:
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)


def resample(images: Tensor, inverse: Tensor) -> Tensor:
    """The image that shows at each point what `inverse` [N, 2, 3] names. [N, C, R, R] → same."""
    size = images.shape[3]
    fine = _double(pad(images, MARGIN))
    # A pixel at x lies at 2 (x + MARGIN) + CENTRE in `fine`; the halving below begins at MARGIN.
    line = (torch.arange(2 * size + len(SYM6) - 2, dtype=images.dtype) - CENTRE) / 2
    y, x = torch.meshgrid(line, line, indexing="ij")
    middle = (size - 1) / 2
    points = torch.stack([x, y, torch.full_like(x, size)], dim=0).flatten(1)
    points[:2] -= middle
    source = inverse.to(images.dtype) @ points + middle  # [N, 2, points], in pixels
    near = (source > -3) & (source < size + 2)
    source = torch.where(near, source, fold(source, size))
    position = 2 * (source + MARGIN) + CENTRE
    grid = (position / (fine.shape[3] - 1) * 2 - 1).transpose(1, 2)
    grid = grid.view(len(images), len(line), len(line), 2).to(images.device)
    return _halve(Sample.apply(fine, grid))


def _taps(like: Tensor, gain: float) -> Tensor:
    return torch.tensor(SYM6, dtype=like.dtype, device=like.device) * gain


def _double(x: Tensor) -> Tensor:
    """Zeros between pixels, then the filter: [R] → [2R + 10], a pixel i at 2i + tap."""
    channels = x.shape[1]
    line = _taps(x, math.sqrt(2)).expand(channels, 1, 1, -1)
    x = F.conv_transpose2d(x, line, stride=(1, 2), groups=channels)
    return F.conv_transpose2d(x, line.transpose(2, 3), stride=(2, 1), groups=channels)


def _halve(x: Tensor) -> Tensor:
    """The transpose of `_double`, and its inverse."""
    channels = x.shape[1]
    line = _taps(x, 1 / math.sqrt(2)).expand(channels, 1, 1, -1)
    x = F.conv2d(x, line, stride=(1, 2), groups=channels)
    return F.conv2d(x, line.transpose(2, 3), stride=(2, 1), groups=channels)


class Sample(torch.autograd.Function):
    """Bilinear sampling, differentiable by the image any number of times (R1 needs two).

    torch's own can be differentiated once only. As it is linear in the image, its derivative is
    its transpose, and that one's derivative is itself again.
    """

    @staticmethod
    def forward(ctx: Any, image: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.shape = image.shape
        return F.grid_sample(image, grid, "bilinear", "zeros", align_corners=True)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return SampleTransposed.apply(gradients[0], ctx.saved_tensors[0], ctx.shape), None


class SampleTransposed(torch.autograd.Function):
    """Each sampled value spread back onto the pixels it was mixed of."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        image, _ = torch.ops.aten.grid_sampler_2d_backward(
            values, values.new_empty(shape), grid, 0, 0, True, [True, False]
        )
        return image

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return Sample.apply(gradients[0], ctx.saved_tensors[0]), None, None
