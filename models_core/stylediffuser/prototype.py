"""The prototype as a component of a diffusers pipeline: a frozen generator and its tags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor

from models_core.stylegan2 import Generator


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
        return self.G.mapping(z, self.labels(tags), truncation_psi=truncation)

    def draw(self, ws: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """w → P in [−1, 1], and the feature maps F_r by resolution."""
        features: dict[int, Tensor] = {}
        image = self.G.synthesis(ws, noise_mode="const", features=features)
        return image, features
