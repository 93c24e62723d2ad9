"""The operations StyleGAN2 is made of, on plain tensors.

Images are N×C×H×W. FIR filters are one- or two-dimensional and normalised to sum 1.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LEAKY_SLOPE = 0.2
LEAKY_GAIN = math.sqrt(2)  # keeps unit variance through a leaky ReLU (He initialisation)


def fir_filter(taps: tuple[float, ...] = (1, 3, 3, 1)) -> Tensor:
    """The separable binomial low-pass as a 2-D kernel of sum 1. Shape: [T, T]."""
    line = torch.tensor(taps, dtype=torch.float32)
    kernel = torch.outer(line, line)
    return kernel / kernel.sum()


def normalize_second_moment(x: Tensor, eps: float = 1e-8) -> Tensor:
    """Scale each row so that its mean square is 1 (Karras 2019, latent normalisation)."""
    return x * (x.square().mean(dim=1, keepdim=True) + eps).rsqrt()


def leaky_relu(x: Tensor, gain: float = LEAKY_GAIN, clamp: float | None = None) -> Tensor:
    x = F.leaky_relu(x, LEAKY_SLOPE) * gain
    return x if clamp is None else x.clamp(-clamp, clamp)


def filter2d(x: Tensor, kernel: Tensor, pad: tuple[int, int], gain: float = 1.0) -> Tensor:
    """Correlate every channel with the FIR `kernel` after padding `pad` = (before, after).

    The kernel is separable and symmetric; two passes of T taps cost less than one of T×T.
    """
    channels = x.shape[1]
    # A rank-one kernel that sums to 1 is the outer product of its own marginal sums.
    line = (kernel.sum(dim=0) * math.sqrt(gain)).to(x.dtype)
    before, after = pad
    x = F.pad(x, (before, after, before, after))
    x = F.conv2d(x, line.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    return F.conv2d(x, line.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)


def upsample2d(x: Tensor, kernel: Tensor) -> Tensor:
    """Twice the size: zeros between samples, then the FIR with gain 4."""
    n, c, h, w = x.shape
    grid = x.new_zeros(n, c, h, 2, w, 2)
    grid[:, :, :, 0, :, 0] = x
    taps = kernel.shape[0]
    return filter2d(grid.view(n, c, 2 * h, 2 * w), kernel, ((taps + 1) // 2, (taps - 2) // 2), 4)


def conv2d_resample(
    x: Tensor, weight: Tensor, kernel: Tensor, *, up: bool = False, down: bool = False
) -> Tensor:
    """Convolve with `weight` [O, I, k, k], doubling or halving the size through the FIR.

    Up: transposed convolution of stride 2, then the FIR (Karras 2020a, skip generator).
    Down: the FIR, then a convolution of stride 2.
    """
    size = weight.shape[-1]
    pad = size // 2
    taps = kernel.shape[0]
    if up:
        # [H] → [2H + 1] → [2H]; the public checkpoints store these kernels for exactly this
        # operator, so nothing is flipped.
        x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
        return filter2d(x, kernel, ((taps - 1) // 2, (taps - 2) // 2), 4)
    if down:
        x = filter2d(x, kernel, ((taps - 1) // 2 + pad, (taps - 2) // 2 + pad))
        return F.conv2d(x, weight, stride=2)
    return F.conv2d(x, weight, padding=pad)
