"""The layers both networks share, all with equalized learning rate (Karras 2018, §4.1).

Stored weights are unit normal; the He constant multiplies them at run time, so that Adam's step
is the same size relative to every layer's own scale.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models_core.stylegan2.ops import (
    LEAKY_GAIN,
    conv2d_resample,
    fir_filter,
    leaky_relu,
    normalize_second_moment,
)


class FullyConnected(nn.Module):
    """Linear layer, optionally followed by a leaky ReLU. [N, I] → [N, O]."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        activate: bool = False,
        lr_multiplier: float = 1.0,
        bias_init: float = 0.0,
    ) -> None:
        super().__init__()
        self.activate = activate
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((out_features,), float(bias_init)))
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        y = F.linear(x, self.weight * self.weight_gain, self.bias * self.bias_gain)
        return leaky_relu(y) if self.activate else y


class Conv(nn.Module):
    """Convolution with optional halving of the size, bias and leaky ReLU."""

    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        bias: bool = True,
        activate: bool = True,
        down: bool = False,
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.activate, self.down, self.clamp = activate, down, clamp
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.weight_gain = 1 / math.sqrt(in_channels * kernel_size**2)
        self.register_buffer("resample_filter", fir_filter())

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        """`gain` scales the output, and the clamp with it (residual branches use √½)."""
        x = conv2d_resample(x, self.weight * self.weight_gain, self.resample_filter, down=self.down)
        if self.bias is not None:
            x = x + self.bias.view(1, -1, 1, 1)
        if self.activate:
            return leaky_relu(x, LEAKY_GAIN * gain, self.clamp and self.clamp * gain)
        return x * gain


class Mapping(nn.Module):
    """z (and label c) → w, broadcast to one w per synthesis layer (Karras 2019, §2).

    Args:
        z_dim: size of z; 0 for the discriminator's label mapping.
        c_dim: size of the label vector (one-hot or multi-hot); 0 for none.
        w_dim: size of w.
        num_ws: how many copies of w to return, or None for a single [N, w_dim].
    """

    w_avg: Tensor

    def __init__(
        self,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        num_ws: int | None,
        *,
        num_layers: int = 8,
        lr_multiplier: float = 0.01,
        w_avg_beta: float | None = 0.998,
    ) -> None:
        super().__init__()
        self.z_dim, self.c_dim, self.num_ws = z_dim, c_dim, num_ws
        self.num_layers, self.w_avg_beta = num_layers, w_avg_beta
        if c_dim:
            self.embed = FullyConnected(c_dim, w_dim)
        features = z_dim + (w_dim if c_dim else 0)
        for index in range(num_layers):
            layer = FullyConnected(features, w_dim, activate=True, lr_multiplier=lr_multiplier)
            setattr(self, f"fc{index}", layer)
            features = w_dim
        if num_ws is not None and w_avg_beta is not None:
            self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(
        self,
        z: Tensor | None,
        c: Tensor | None = None,
        *,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        update_average: bool = False,
    ) -> Tensor:
        """z: [N, z_dim], c: [N, c_dim] → [N, num_ws, w_dim] (or [N, w_dim]), in float32 always."""
        with torch.autocast(next(self.parameters()).device.type, enabled=False):
            x = self._mapped(z, c)
        if update_average and self.w_avg_beta is not None:
            self.w_avg.copy_(x.detach().mean(dim=0).lerp(self.w_avg, self.w_avg_beta))
        if self.num_ws is None:
            return x
        x = x.unsqueeze(1).repeat(1, self.num_ws, 1)
        return truncate(x, self.w_avg, truncation_psi, truncation_cutoff)

    def _mapped(self, z: Tensor | None, c: Tensor | None) -> Tensor:
        """[N, w_dim], before it is broadcast and truncated."""
        parts = []
        if self.z_dim:
            if z is None:
                raise ValueError(f"this network needs latents z [N, {self.z_dim}]")
            parts.append(normalize_second_moment(z.float()))
        if self.c_dim:
            if c is None:
                raise ValueError(f"this network needs labels c [N, {self.c_dim}]")
            parts.append(normalize_second_moment(self.embed(c.float())))
        x = torch.cat(parts, dim=1)
        for index in range(self.num_layers):
            x = getattr(self, f"fc{index}")(x)
        return x


def truncate(ws: Tensor, w_avg: Tensor, psi: float, cutoff: int | None = None) -> Tensor:
    """Pull the first `cutoff` layers' w (all where None) towards the mean: w̄ + ψ(w - w̄)."""
    if psi == 1:
        return ws
    cutoff = ws.shape[1] if cutoff is None else cutoff
    pulled = w_avg.lerp(ws[:, :cutoff], psi)
    return torch.cat([pulled, ws[:, cutoff:]], dim=1)
