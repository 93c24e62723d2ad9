"""The masked style encoder: takes what is inside a mask from another picture.

An encoder reads the masked part of a picture and its mask, and its code is joined to the mapped
style w, so that the drawing has that part inside the mask and is itself outside it. Only the
masked region of the result is then used (`masks.paste`).

    styles = StyleEncoder.from_folder(Path("runs/style-encoder/export"))
    mixed = styles.mix(ws, pictures, masks)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models_core.latent.component import Component, EncoderConfig
from models_core.latent.encoder import BATCH, Trunk


class StyleEncoderNetwork(nn.Module):
    """(ws [N, num_ws, w_dim], x [N, 3, R, R], mask [N, 1, R, R]) → ws of the mix.

    The mask is normalised to the pictures' range, -1 to 1, and is the fourth channel. The code of
    what is inside is concatenated with w, and a layer of its own makes the two a change of w; it
    is zero at initialisation, where the drawing is w's own.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        size = config.num_ws * config.w_dim
        self.trunk = Trunk(4, config.img_resolution, config.widths, config.hidden)
        self.join = nn.Linear(size + config.hidden, config.hidden)
        self.head = nn.Linear(config.hidden, size)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("mean", torch.zeros(config.w_dim))
        self.register_buffer("std", torch.ones(config.w_dim))

    def forward(self, ws: Tensor, x: Tensor, mask: Tensor) -> Tensor:
        seen = torch.cat([x * mask, 2 * mask - 1], dim=1)
        code = self.trunk(seen.contiguous(memory_format=torch.channels_last))
        style = ((ws - self.mean) / self.std).flatten(1)
        joined = F.silu(self.join(torch.cat([style, code], dim=1)))
        return ws + self.std * self.head(joined).view_as(ws)


class StyleEncoder(Component):
    """A trained masked style encoder, ready to be asked."""

    KIND = "stylegan2-style-encoder"
    NETWORK = StyleEncoderNetwork

    @torch.no_grad()
    def mix(self, ws: Tensor, pictures: Tensor, masks: Tensor) -> Tensor:
        """ws [N, num_ws, w_dim], pictures [N, 3, R, R] in [-1, 1], masks [N, 1, R, R] → ws."""
        parts = [
            self.network(w.to(self.device), x.to(self.device), m.to(self.device)).cpu()
            for w, x, m in zip(
                ws.split(BATCH), pictures.split(BATCH), masks.split(BATCH), strict=True
            )
        ]
        return torch.cat(parts)
