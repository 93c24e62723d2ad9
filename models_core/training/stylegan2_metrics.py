"""How good a snapshot is, measured while training: its Fréchet distance to held-out pictures.

A light number for the log, to see a run improve or collapse; `python -m models_core evaluate` is
for numbers to compare.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models_core.data.dataset import ImageFolder
from models_core.stylegan2.recipe import Recipe
from models_core.training.run import Run

BATCH = 32
Draw = Callable[[Tensor, Tensor], np.ndarray]
Features = Callable[[np.ndarray], Tensor]
Distance = Callable[[Tensor, Tensor], float]


class SnapshotMetric:
    """Compares generated pictures with real ones that have the same labels.

    Args:
        features: uint8 [N, R, R, 3] → [N, dim].
        distance: between the features of real and of generated pictures.
        name: what the number is called in the log.
        pixels, labels: the real pictures, and the labels to draw pictures for.
        every, save_every: steps between measurements, and between the saves that they follow.
    """

    def __init__(
        self,
        features: Features,
        distance: Distance,
        name: str,
        pixels: np.ndarray,
        labels: Tensor,
        every: int,
        save_every: int,
    ) -> None:
        self.features, self.distance = features, distance
        self.name, self.labels = name, labels
        self.every, self.save_every = every, save_every
        self.real = features(pixels)

    @classmethod
    def of(cls, recipe: Recipe, real: ImageFolder, run: Run) -> SnapshotMetric | None:
        """The recipe's `[metrics]`; None where it asks for none, or another process measures."""
        table = recipe.metrics
        if not table.every or not run.processes.first:
            return None
        from models_core.metrics.features import open_extractor
        from models_core.metrics.frechet import frechet_distance

        weights = Path(table.weights) if table.weights else None
        extractor = open_extractor(table.extractor, weights, device=run.device)
        pixels = real.pixels("crop", recipe.network.img_resolution)[: table.count]
        conditional = recipe.network.conditional
        labels = real.labels[: len(pixels)] if conditional else torch.zeros(len(pixels), 0)
        name = f"frechet_{extractor.name}_{len(pixels)}"
        every = {"every": table.every, "save_every": recipe.training.save_every}
        return cls(extractor, frechet_distance, name, pixels, labels, **every)

    def due(self, step: int) -> bool:
        """Whether `every` has passed since the save before the one of this step."""
        return step // self.every > (step - self.save_every) // self.every

    def measure(self, draw: Draw, z_dim: int) -> dict[str, float]:
        """Draw as many pictures as there are real ones, from fixed latents, and compare."""
        z = torch.randn(len(self.labels), z_dim, generator=torch.Generator().manual_seed(2))
        parts = [
            draw(z[start : start + BATCH], self.labels[start : start + BATCH])
            for start in range(0, len(z), BATCH)
        ]
        return {self.name: self.distance(self.real, self.features(np.concatenate(parts)))}
