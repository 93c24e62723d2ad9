"""The prototype as a component of a diffusers pipeline: a frozen generator and its tags."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor

from models_core.stylegan2 import Generator, checkpoint


class Prototype(ModelMixin, ConfigMixin):
    """G with the tag vocabulary that its label vector means.

    Args:
        generator: keyword arguments of `models_core.stylegan2.Generator`.
        tags: the tag each label position stands for; empty for an unconditional G.
    """

    @register_to_config
    def __init__(self, generator: dict[str, Any], tags: Sequence[str] = ()) -> None:
        super().__init__()
        self.G = Generator(**generator).requires_grad_(False)
        self.positions = {tag: i for i, tag in enumerate(tags)}

    @classmethod
    def from_checkpoint(cls, folder: Path) -> Self:
        """A StyleGAN2 checkpoint folder as a prototype, whatever its sizes and labels."""
        about = checkpoint.describe(folder)
        prototype = cls(about.generator, [tag for group in about.tags.values() for tag in group])
        prototype.G.load_state_dict(checkpoint.load(folder).state_dict())
        return prototype.eval()

    def labels(self, tags: Sequence[Sequence[str]]) -> Tensor:
        """Tags of N images → multi-hot [N, c_dim]; tags that G does not know are left out."""
        c = torch.zeros(len(tags), self.G.c_dim)
        for row, names in enumerate(tags):
            for name in names:
                if name in self.positions:
                    c[row, self.positions[name]] = 1
        return c.to(self.device)

    def map(self, z: Tensor, tags: Sequence[Sequence[str]], truncation: float = 1.0) -> Tensor:
        """z [N, z_dim] → w [N, num_ws, w_dim], pulled towards the mean by ψ = `truncation`."""
        nameless = self.G.c_dim and not self.positions
        labels = self.drawn_labels(z) if nameless else self.labels(tags)
        return self.G.mapping(z, labels, truncation_psi=truncation)

    def drawn_labels(self, z: Tensor) -> Tensor:
        """One class for each z, for a G whose classes have no names: such a G knows no picture
        without one. Drawn by z's own bits, so that a seed has its class in any company."""
        c = torch.zeros(len(z), self.G.c_dim)
        for row, numbers in enumerate(z.cpu().float()):
            digest = hashlib.sha256(numbers.numpy().tobytes()).digest()
            c[row, int.from_bytes(digest[:8]) % self.G.c_dim] = 1
        return c.to(self.device)

    def draw(self, ws: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """w → P in [−1, 1], and the feature maps F_r by resolution."""
        features: dict[int, Tensor] = {}
        image = self.G.synthesis(ws, noise_mode="const", features=features)
        return image, features
