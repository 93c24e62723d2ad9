"""The generator: mapping network and skip synthesis network (Karras 2020a, Fig. 7b, right)."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from models_core.stylegan2.layers import FullyConnected, Mapping
from models_core.stylegan2.ops import (
    LEAKY_GAIN,
    conv2d_resample,
    fir_filter,
    leaky_relu,
    upsample2d,
)

NoiseMode = Literal["random", "const", "none"]


def block_channels(resolution: int, channel_base: int, channel_max: int) -> int:
    """Feature maps of a block: halving with each doubling of the size, up to a maximum."""
    return min(channel_base // resolution, channel_max)


def block_resolutions(img_resolution: int) -> list[int]:
    """4, 8, … img_resolution, which must be a power of two ≥ 4."""
    if img_resolution < 4 or img_resolution & (img_resolution - 1):
        raise ValueError(f"resolution {img_resolution} is not a power of two of at least 4")
    return [2**i for i in range(2, int(math.log2(img_resolution)) + 1)]


def modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    kernel: Tensor,
    *,
    up: bool = False,
    demodulate: bool = True,
) -> Tensor:
    """Convolution whose weights are scaled per sample by `styles` and renormalised.

    a_oik = s_i w_oik;  b_oik = a_oik / √(Σ_ik a²_oik + ε)   (Karras 2020a, eq. 1 and 3)

    Scaling the activations before and after one shared convolution is the same as scaling the
    weights, and one convolution for the whole batch is much faster than one per sample.

    Shapes: x [N, I, H, W], weight [O, I, k, k], styles [N, I].
    """
    x = x * styles[:, :, None, None]
    x = conv2d_resample(x, weight, kernel, up=up)
    if demodulate:
        energy = weight.square().sum(dim=(2, 3))  # [O, I]
        scale = (styles.square() @ energy.t() + 1e-8).rsqrt()  # [N, O]
        x = x * scale[:, :, None, None]
    return x


class SynthesisLayer(nn.Module):
    """Modulated 3×3 convolution, noise, bias, leaky ReLU."""

    resample_filter: Tensor
    noise_const: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        resolution: int,
        *,
        up: bool = False,
        use_noise: bool = True,
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.resolution, self.up = resolution, up
        self.use_noise, self.clamp = use_noise, clamp
        self.affine = FullyConnected(w_dim, in_channels, bias_init=1)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.weight_gain = 1 / math.sqrt(in_channels * 9)
        self.register_buffer("resample_filter", fir_filter())
        if use_noise:
            self.register_buffer("noise_const", torch.randn(resolution, resolution))
            self.noise_strength = nn.Parameter(torch.zeros([]))

    def forward(self, x: Tensor, w: Tensor, noise_mode: NoiseMode) -> Tensor:
        x = modulated_conv2d(
            x, self.weight * self.weight_gain, self.affine(w), self.resample_filter, up=self.up
        )
        if self.use_noise and noise_mode == "random":
            noise = torch.randn(x.shape[0], 1, *x.shape[2:], device=x.device, dtype=x.dtype)
            x = x + noise * self.noise_strength
        elif self.use_noise and noise_mode == "const":
            x = x + self.noise_const * self.noise_strength
        return leaky_relu(x + self.bias.view(1, -1, 1, 1), LEAKY_GAIN, self.clamp)


class ToRGB(nn.Module):
    """Modulated 1×1 convolution to image channels, without demodulation."""

    def __init__(
        self, in_channels: int, img_channels: int, w_dim: int, clamp: float | None = None
    ) -> None:
        super().__init__()
        self.clamp = clamp
        self.affine = FullyConnected(w_dim, in_channels, bias_init=1)
        self.weight = nn.Parameter(torch.randn(img_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(img_channels))
        self.weight_gain = 1 / math.sqrt(in_channels)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        styles = self.affine(w) * self.weight_gain
        x = torch.nn.functional.conv2d(x * styles[:, :, None, None], self.weight)
        x = x + self.bias.view(1, -1, 1, 1)
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class SynthesisBlock(nn.Module):
    """One resolution: (constant | upsampling layer), layer, and its contribution to the image."""

    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        resolution: int,
        img_channels: int,
        *,
        use_noise: bool,
        clamp: float | None,
    ) -> None:
        super().__init__()
        self.register_buffer("resample_filter", fir_filter())
        layer: dict[str, Any] = {"use_noise": use_noise, "clamp": clamp}
        self.first = in_channels == 0
        if self.first:
            self.const = nn.Parameter(torch.randn(out_channels, resolution, resolution))
        else:
            self.conv0 = SynthesisLayer(
                in_channels, out_channels, w_dim, resolution, up=True, **layer
            )
        self.conv1 = SynthesisLayer(out_channels, out_channels, w_dim, resolution, **layer)
        self.torgb = ToRGB(out_channels, img_channels, w_dim, clamp)
        self.num_conv = 1 if self.first else 2

    def forward(
        self, x: Tensor | None, image: Tensor | None, ws: Tensor, noise_mode: NoiseMode
    ) -> tuple[Tensor, Tensor]:
        """ws: [N, num_conv + 1, w_dim], the last for toRGB. Returns (features, image)."""
        layers = iter(ws.unbind(dim=1))
        if self.first:
            x = self.const.unsqueeze(0).repeat(ws.shape[0], 1, 1, 1)
        else:
            assert x is not None  # noqa: S101  given by the block before
            x = self.conv0(x, next(layers), noise_mode)
        x = self.conv1(x, next(layers), noise_mode)
        rgb = self.torgb(x, next(layers))
        image = rgb if image is None else upsample2d(image, self.resample_filter) + rgb
        return x, image


class Synthesis(nn.Module):
    """w per layer → image. `num_ws` layers take a w; a block's toRGB shares the next block's."""

    def __init__(
        self,
        w_dim: int,
        img_resolution: int,
        img_channels: int,
        *,
        channel_base: int = 32768,
        channel_max: int = 512,
        use_noise: bool = True,
        conv_clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.resolutions = block_resolutions(img_resolution)
        self.num_ws = 0
        in_channels = 0
        for resolution in self.resolutions:
            channels = block_channels(resolution, channel_base, channel_max)
            block = SynthesisBlock(
                in_channels,
                channels,
                w_dim,
                resolution,
                img_channels,
                use_noise=use_noise,
                clamp=conv_clamp,
            )
            setattr(self, f"b{resolution}", block)
            self.num_ws += block.num_conv
            in_channels = channels
        self.num_ws += 1

    def forward(
        self,
        ws: Tensor,
        *,
        noise_mode: NoiseMode = "random",
        features: dict[int, Tensor] | None = None,
    ) -> Tensor:
        """ws: [N, num_ws, w_dim] → [N, img_channels, R, R], nominally in [-1, 1].

        `features`, where given, is filled with each block's feature maps F_r by resolution.
        """
        x: Tensor | None = None
        image: Tensor | None = None
        start = 0
        for resolution in self.resolutions:
            block = getattr(self, f"b{resolution}")
            part = ws.narrow(1, start, block.num_conv + 1)
            x, image = block(x, image, part, noise_mode)
            start += block.num_conv
            if features is not None:
                features[resolution] = x
        assert image is not None  # noqa: S101  made by the first block
        return image


class Generator(nn.Module):
    """G(z, c) = synthesis(mapping(z, c)).

    The keyword arguments are the configuration that `config.json` beside the weights holds.
    """

    def __init__(
        self,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        img_resolution: int,
        img_channels: int = 3,
        mapping_kwargs: dict[str, Any] | None = None,
        synthesis_kwargs: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim = z_dim, c_dim, w_dim
        self.img_resolution, self.img_channels = img_resolution, img_channels
        self.synthesis = Synthesis(w_dim, img_resolution, img_channels, **(synthesis_kwargs or {}))
        self.num_ws = self.synthesis.num_ws
        self.mapping = Mapping(z_dim, c_dim, w_dim, self.num_ws, **(mapping_kwargs or {}))

    def forward(
        self,
        z: Tensor,
        c: Tensor | None = None,
        *,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        noise_mode: NoiseMode = "random",
    ) -> Tensor:
        """z: [N, z_dim], c: [N, c_dim] → image [N, img_channels, R, R] in about [-1, 1]."""
        ws = self.mapping(z, c, truncation_psi=truncation_psi, truncation_cutoff=truncation_cutoff)
        return self.synthesis(ws, noise_mode=noise_mode)
