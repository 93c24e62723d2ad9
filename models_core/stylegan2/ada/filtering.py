"""Image-space filtering: four frequency bands made stronger or weaker.

The bands are octaves of the orthogonal wavelet sym2: with L(z) = H(z) H(1/z) / 2, a low-pass
without delay whose complement is 1 − L(z), they are [0, π/8], [π/8, π/4], [π/4, π/2], [π/2, π]
and add up to 1.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from models_core.stylegan2.ada.draws import lognormal
from models_core.stylegan2.ada.edges import pad

_ROOT = math.sqrt(3)
# Symlet 2, in closed form (Daubechies 1992): sum √2, orthonormal to its even shifts.
SYM2 = tuple(tap / (4 * math.sqrt(2)) for tap in (1 - _ROOT, 3 - _ROOT, 3 + _ROOT, 1 + _ROOT))
# What natural images' power, falling as 1/f, has of each band.
EXPECTED_POWER = (10 / 13, 1 / 13, 1 / 13, 1 / 13)
AMPLIFICATION = 1.0


def filtering(images: Tensor, p: float) -> Tensor:
    """Change the balance of frequencies in each image at random. [N, C, H, W] → the same."""
    return apply_gains(images, band_gains(len(images), p))


def band_gains(n: int, p: float) -> Tensor:
    """[N, 4] gains. Each band's is drawn with probability p; all are then scaled so that an
    expected image keeps its power."""
    power = torch.tensor(EXPECTED_POWER)
    gains = torch.ones(n, 4)
    for band in range(4):
        own = torch.ones(n, 4)
        own[:, band] = lognormal(n, p, AMPLIFICATION)
        gains = gains * own / (own.square() @ power).sqrt().unsqueeze(1)
    return gains


def band_filters() -> Tensor:
    """Kernels of the four bands, lowest first. [4, 43], adding up to a single 1 in the middle."""
    taps = torch.tensor(SYM2, dtype=torch.float64)
    low = _convolve(taps, taps.flip(0)) / 2
    bands: list[Tensor] = []
    so_far = torch.ones(1, dtype=torch.float64)
    for octave in (1, 2, 4):
        spread = torch.zeros((len(low) - 1) * octave + 1, dtype=torch.float64)
        spread[::octave] = low
        high = -spread
        high[len(spread) // 2] += 1
        bands.insert(0, _convolve(so_far, high))
        so_far = _convolve(so_far, spread)
    bands.insert(0, so_far)
    longest = len(so_far)
    return torch.stack([F.pad(b, ((longest - len(b)) // 2,) * 2) for b in bands])


def _convolve(a: Tensor, b: Tensor) -> Tensor:
    padded = F.pad(a, (len(b) - 1,) * 2).view(1, 1, -1)
    return F.conv1d(padded, b.flip(0).view(1, 1, -1)).flatten()


def apply_gains(images: Tensor, gains: Tensor) -> Tensor:
    """Filter rows and columns of [N, C, H, W] with the bands weighed by gains [N, 4]."""
    n, channels, height, width = images.shape
    kernels = (gains.double() @ band_filters()).to(images.device, images.dtype)
    each = kernels.repeat_interleave(channels, dim=0)  # one an image and channel
    x = pad(images, kernels.shape[1] // 2).flatten(0, 1).unsqueeze(0)
    x = F.conv2d(x, each.view(n * channels, 1, 1, -1), groups=n * channels)
    x = F.conv2d(x, each.view(n * channels, 1, -1, 1), groups=n * channels)
    return x.view(n, channels, height, width)
