"""The encoder e: picture → w, so that G(e(x)) is the generator's nearest drawing of x.

encoder = Encoder.from_folder(Path("runs/encoder/export"))
ws = encoder.encode(pictures)                  # [N, num_ws, w_dim]
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from models_core.critic.network import Residual
from models_core.data.dataset import to_tensor
from models_core.latent.component import Component, EncoderConfig

BATCH = 32


class Trunk(nn.Module):
    """Picture [N, C, R, R] → features [N, hidden]. Pixels are unshuffled by two first, so that no
    layer works at the full size; places are kept to the end, for w says what is where."""

    def __init__(self, channels: int, resolution: int, widths: Sequence[int], hidden: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.PixelUnshuffle(2),
            nn.Conv2d(4 * channels, widths[0], 3, padding=1),
        ]
        for narrow, wide in pairwise(widths):
            layers += [nn.SiLU(), nn.Conv2d(narrow, wide, 3, stride=2, padding=1), Residual(wide)]
        self.body = nn.Sequential(*layers)
        self.norm = nn.GroupNorm(8, widths[-1])
        side = resolution // 2 ** len(widths)
        self.out = nn.Linear(widths[-1] * side**2, hidden)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(self.out(F.silu(self.norm(self.body(x))).flatten(1)))


class EncoderNetwork(nn.Module):
    """x [N, 3, R, R] in [-1, 1] → ws [N, num_ws, w_dim].

    The head's output is in units of W's own spread: ws = mean + std · head.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(3, config.img_resolution, config.widths, config.hidden)
        self.copies = 1 if config.space == "w" else config.num_ws
        self.head = nn.Linear(config.hidden, self.copies * config.w_dim)
        self.register_buffer("mean", torch.zeros(config.w_dim))
        self.register_buffer("std", torch.ones(config.w_dim))

    def forward(self, x: Tensor) -> Tensor:
        out = self.head(self.trunk(x)).view(len(x), self.copies, self.config.w_dim)
        ws = self.mean + self.std * out
        return ws.expand(-1, self.config.num_ws, -1)


class Encoder(Component):
    """A trained encoder, ready to be asked."""

    KIND = "stylegan2-encoder"
    NETWORK = EncoderNetwork

    @torch.no_grad()
    def encode(self, images: Sequence[Image.Image] | np.ndarray | Tensor) -> Tensor:
        """Pictures → ws [N, num_ws, w_dim] on the CPU.

        Pictures are face crops as the generator draws them, of any size: PIL images, uint8
        [N, H, W, 3], or a tensor [N, 3, H, W] in [-1, 1].
        """
        parts = [
            self.network(self._input(images[start : start + BATCH])).float().cpu()
            for start in range(0, len(images), BATCH)
        ]
        shape = (0, self.config.num_ws, self.config.w_dim)
        return torch.cat(parts) if parts else torch.zeros(shape)

    def _input(self, images: Sequence[Image.Image] | np.ndarray | Tensor) -> Tensor:
        size = self.config.img_resolution
        if isinstance(images, Tensor):
            x = images
        elif isinstance(images, np.ndarray):
            x = to_tensor(images)
        else:
            fitted = [
                i.convert("RGB").resize((size, size), Image.Resampling.LANCZOS) for i in images
            ]
            x = to_tensor(np.stack([np.asarray(image) for image in fitted]))
        x = x.to(self.device, torch.float32)
        if x.shape[2:] != (size, size):
            x = F.interpolate(x, (size, size), mode="bicubic", antialias=True).clamp(-1, 1)
        return x
