"""The residual discriminator (Karras 2020a, Fig. 7c), with projection of labels."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from models_core.stylegan2.generator import block_channels, block_resolutions
from models_core.stylegan2.layers import Conv, FullyConnected, Mapping
from models_core.stylegan2.ops import fir_filter


def minibatch_stddev(x: Tensor, group_size: int = 4, num_channels: int = 1) -> Tensor:
    """Append the features' mean deviation inside groups of samples (Karras 2018, §3).

    x: [N, C, H, W] → [N, C + num_channels, H, W]; N must be a multiple of the group size.
    """
    n, c, h, w = x.shape
    group = min(group_size, n)
    y = x.reshape(group, -1, num_channels, c // num_channels, h, w)
    y = (y - y.mean(dim=0)).square().mean(dim=0)
    y = (y + 1e-8).sqrt().mean(dim=(2, 3, 4))  # [N / group, num_channels]
    y = y.reshape(-1, num_channels, 1, 1).repeat(group, 1, h, w)
    return torch.cat([x, y], dim=1)


class DiscriminatorBlock(nn.Module):
    """Halves the size; the first block also reads the image."""

    resample_filter: Tensor

    def __init__(
        self, img_channels: int, in_channels: int, out_channels: int, clamp: float | None
    ) -> None:
        super().__init__()
        self.register_buffer("resample_filter", fir_filter())
        if img_channels:
            self.fromrgb = Conv(img_channels, in_channels, 1, clamp=clamp)
        self.conv0 = Conv(in_channels, in_channels, 3, clamp=clamp)
        self.conv1 = Conv(in_channels, out_channels, 3, down=True, clamp=clamp)
        self.skip = Conv(in_channels, out_channels, 1, down=True, bias=False, activate=False)

    def forward(self, x: Tensor) -> Tensor:
        if hasattr(self, "fromrgb"):
            x = self.fromrgb(x)
        skip = self.skip(x, gain=math.sqrt(0.5))
        return skip + self.conv1(self.conv0(x), gain=math.sqrt(0.5))


class DiscriminatorEpilogue(nn.Module):
    """4×4 features → one value (or `cmap_dim` values to project on the label)."""

    def __init__(
        self, channels: int, cmap_dim: int, clamp: float | None, mbstd_group_size: int
    ) -> None:
        super().__init__()
        self.mbstd_group_size = mbstd_group_size
        self.conv = Conv(channels + 1, channels, 3, clamp=clamp)
        self.fc = FullyConnected(channels * 16, channels, activate=True)
        self.out = FullyConnected(channels, cmap_dim or 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(minibatch_stddev(x, self.mbstd_group_size))
        return self.out(self.fc(x.flatten(1)))


class Discriminator(nn.Module):
    """D(image, c) → logits [N, 1]; positive means real.

    With labels, the output is the projection ⟨φ(image), m(c)⟩ / √dim (Miyato 2018; Karras 2020b).
    """

    def __init__(
        self,
        c_dim: int,
        img_resolution: int,
        img_channels: int = 3,
        *,
        channel_base: int = 32768,
        channel_max: int = 512,
        conv_clamp: float | None = None,
        mbstd_group_size: int = 4,
    ) -> None:
        super().__init__()
        self.c_dim = c_dim
        self.img_resolution = img_resolution
        *upper, last = reversed(block_resolutions(img_resolution))
        for resolution in upper:
            block = DiscriminatorBlock(
                img_channels if resolution == img_resolution else 0,
                block_channels(resolution, channel_base, channel_max),
                block_channels(resolution // 2, channel_base, channel_max),
                conv_clamp,
            )
            setattr(self, f"b{resolution}", block)
        self.upper = upper
        channels = block_channels(last, channel_base, channel_max)
        cmap_dim = channels if c_dim else 0
        if c_dim:
            self.mapping = Mapping(0, c_dim, cmap_dim, None, w_avg_beta=None)
        self.b4 = DiscriminatorEpilogue(channels, cmap_dim, conv_clamp, mbstd_group_size)

    def forward(self, image: Tensor, c: Tensor | None = None) -> Tensor:
        x = image
        for resolution in self.upper:
            x = getattr(self, f"b{resolution}")(x)
        x = self.b4(x)
        if self.c_dim:
            label = self.mapping(None, c)
            x = (x * label).sum(dim=1, keepdim=True) / math.sqrt(label.shape[1])
        return x
