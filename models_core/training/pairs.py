"""Prototypes that belong to real pictures: the pairs (P, x) StyleDiffuser learns from.

By label, P = G(z, c(q)) has the tags q of x and is somebody else otherwise. By encoder,
P = G(e(x)) is G's own nearest drawing of x, so what differs is just what G gets wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from models_core.data.dataset import ImageFolder, to_tensor
from models_core.stylediffuser.prototype import Prototype
from models_core.training.run import save_whole

BATCH = 64


class Encoder(Protocol):
    """e: pictures [N, 3, H, W] in [−1, 1] → ws [N, num_ws, w_dim]."""

    def encode(self, images: Tensor) -> Tensor: ...


class Pairs:
    """w's for a data set's pictures.

    Args:
        encoder: None pairs by label.
        share: of pairs made by the encoder; the others are made by label.
        file: keeps the encoder's w's for the next start.
        limit: how many of the first pictures take part.
        truncation: the range that ψ of pairs by label is drawn from.
    """

    def __init__(
        self,
        prototype: Prototype,
        dataset: ImageFolder,
        file: Path,
        *,
        encoder: Encoder | None = None,
        share: float = 1.0,
        limit: int | None = None,
        truncation: Sequence[float] = (0.6, 1.0),
    ) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"encoder_share must be 0 to 1, not {share}")
        low, high = truncation
        if not 0 <= low <= high:
            raise ValueError(f"truncation must be [low, high] from 0 on, not {[low, high]}")
        self.prototype, self.tags, self.share = prototype, dataset.tags, share
        self.low, self.high = low, high
        self.encoded = None if encoder is None else self._encode(encoder, dataset, file, limit)

    def _encode(
        self, encoder: Encoder, dataset: ImageFolder, file: Path, limit: int | None
    ) -> Tensor:
        """e(x) [N, num_ws, w_dim] of every picture, computed once."""
        if not file.exists():
            pixels = dataset.pixels("crop", self.prototype.G.img_resolution)[:limit]
            parts = [
                encoder.encode(to_tensor(pixels[i : i + BATCH]))
                for i in range(0, len(pixels), BATCH)
            ]
            save_whole(torch.cat(parts).float().cpu(), file)
        ws = torch.load(file, weights_only=True, mmap=True)
        own = (self.prototype.G.num_ws, self.prototype.G.w_dim)
        if tuple(ws.shape[1:]) != own:
            raise ValueError(
                f"the encoder's w's are {list(ws.shape[1:])}, the prototype takes {list(own)}: "
                "train an encoder for this prototype"
            )
        return ws

    @torch.no_grad()
    def ws(self, index: list[int], order: torch.Generator) -> Tensor:
        """w's [N, num_ws, w_dim] for the pictures of these numbers."""
        tags = [self.tags[i] for i in index]
        psi = float(torch.rand(1, generator=order) * (self.high - self.low) + self.low)
        z = torch.randn(len(index), self.prototype.G.z_dim).to(self.prototype.device)
        ws = self.prototype.map(z, tags, psi)
        if self.encoded is None:
            return ws
        found = torch.stack([self.encoded[i] for i in index]).to(ws)
        chosen = torch.rand(len(index), generator=order) < self.share
        return torch.where(chosen.view(-1, 1, 1).to(ws.device), found, ws)


def open_encoder(recipe: dict[str, Any]) -> Encoder | None:
    """The encoder that the recipe's `encoder` folder holds, if it names one."""
    if "encoder" not in recipe:
        return None
    from models_core.latent.encoder import Encoder as Trained

    return Trained.from_folder(Path(recipe["encoder"]))
