"""Training the masked style encoder: w, a picture and a mask → w with that part of the picture.

The generator stands still. Two kinds of examples, half and half where it has tags:
- **a tag's region**: one group's tags are taken from another label; where the two drawings differ
  is the mask, and the changed drawing is the goal, so inside and outside it are known to fit;
- **any shape**: an ellipse over a second picture, an own sample or a real crop; its pixels are the
  goal inside, the first picture's outside.
Loss: pixels inside the mask against the goal, outside it against the first picture, and the judge's
features against the two joined, which see the seam.
"""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models_core.data.dataset import ImageFolder, contact_sheet, to_pixels
from models_core.latent.likeness import pixel_error
from models_core.latent.masks import closed, paste
from models_core.latent.space import LatentSpace
from models_core.latent.style import StyleEncoder, StyleEncoderNetwork
from models_core.training.encoder import LatentTraining
from models_core.training.run import Run, batch_indices, seed_step, take_steps

CHANGED = 0.3  # of a drawing's strongest change, from which on a pixel is one that the tag changed
FAINT = 0.05  # and at least this much, in units of the pictures' range
SHOWN = 12


def ellipses(count: int, size: int) -> Tensor:
    """Random masks [count, 1, size, size] of one ellipse each, a tenth to a half as wide."""
    centre = torch.rand(count, 2, 1, 1) * 1.2 - 0.6
    radius = torch.rand(count, 2, 1, 1) * 0.8 + 0.2
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, size)] * 2, indexing="ij")
    inside = ((torch.stack([y, x]) - centre) / radius).square().sum(dim=1, keepdim=True) < 1
    return inside.float()


class StyleEncoderTraining(LatentTraining):
    def __init__(self, run: Run, space: LatentSpace, data: ImageFolder) -> None:
        super().__init__(run, space, data, StyleEncoderNetwork, mixing=0.0)
        self.groups = groups_of(data) if space.generator.c_dim else []

    @torch.no_grad()
    def examples(self, count: int, order: torch.Generator) -> tuple[Tensor, ...]:
        """ws, the pictures they draw, the pictures to take from, masks, goals; `count` of each."""
        tagged = count // 2 if self.groups else 0
        labels, resolution = self.own.labels, self.space.resolution
        c, other = (labels[batch_indices(len(labels), count, order)] for _ in range(2))
        z = torch.randn(count, self.space.generator.z_dim)
        ws = self._map(z, c)
        x = self.space.synthesize(ws).clamp(-1, 1)
        goal = self._draw(z[:tagged], self._swapped(c[:tagged], other[:tagged], order))
        change = (goal - x[:tagged]).abs().mean(dim=1, keepdim=True)
        changed = change > (CHANGED * change.amax(dim=(2, 3), keepdim=True)).clamp(min=FAINT)
        own = self._draw(torch.randn_like(z[:tagged]), other[:tagged])
        source = torch.cat([own, self._sources(other[tagged:], order)])
        mask = torch.cat([closed(changed.float()), ellipses(count - tagged, resolution).to(x)])
        return ws, x, source, mask, torch.cat([goal, source[tagged:]])

    def _map(self, z: Tensor, c: Tensor) -> Tensor:
        return self.space.generator.mapping(z.to(self.space.device), c.to(self.space.device))

    def _draw(self, z: Tensor, c: Tensor) -> Tensor:
        return self.space.synthesize(self._map(z, c)).clamp(-1, 1)

    def _swapped(self, c: Tensor, other: Tensor, order: torch.Generator) -> Tensor:
        """Labels with one random group's tags from the other label, a group where they differ."""
        swapped = c.clone()
        for i in range(len(c)):
            differing = [g for g in self.groups if not torch.equal(c[i, g], other[i, g])]
            if differing:
                group = differing[int(torch.randint(len(differing), (1,), generator=order))]
                swapped[i, group] = other[i, group]
        return swapped

    def _sources(self, c: Tensor, order: torch.Generator) -> Tensor:
        """Pictures to take any shape from: half own samples, half real crops."""
        real = len(c) // 2
        crops = self.real(real, order)
        drawn = self._draw(torch.randn(len(c) - real, self.space.generator.z_dim), c[real:])
        return torch.cat([crops, drawn])

    def take_step(self) -> dict[str, float]:
        cfg = self.cfg
        order = seed_step(cfg["seed"], self.step)
        ws, x, source, mask, goal = self.examples(cfg["batch"], order)
        drawn = self.space.synthesize(self.model(ws, source, mask))
        inside = pixel_error(drawn, goal, mask).mean()
        outside = pixel_error(drawn, x, 1 - mask).mean()
        features = self.likeness.features(drawn, mask * goal + (1 - mask) * x).mean()
        out = {"inside": inside.item(), "outside": outside.item(), "features": features.item()}
        loss = inside + cfg["outside_weight"] * outside + features
        return {**out, "lr": self.optimize(loss)}

    def export(self, folder: Path) -> None:
        """The averaged network, as `StyleEncoder.from_folder` reads it."""
        StyleEncoder(copy.deepcopy(self.average), self.space.fingerprint()).save(folder)

    @torch.no_grad()
    def sheet(self) -> np.ndarray:
        """Four rows: the pictures, what to take from (grey outside the mask), draws, results."""
        ws, x, source, mask, _ = self.examples(SHOWN, seed_step(self.cfg["seed"], -2))
        drawn = self.space.synthesize(self.average(ws, source, mask)).clamp(-1, 1)
        return to_pixels(torch.cat([x, source * mask, drawn, paste(drawn, x, mask)]))


def groups_of(data: ImageFolder) -> list[list[int]]:
    """The label positions of each group of tags."""
    index = data.vocabulary.index
    return [[index[tag] for tag in tags] for tags in data.vocabulary.groups.values()]


def main(recipe: Path, folder: Path, steps: int | None = None) -> None:
    run = Run(folder, recipe)
    space = LatentSpace.open(Path(run.recipe["generator"]), run.device)
    job = StyleEncoderTraining(run, space, ImageFolder(Path(run.recipe["data"])))
    take_steps(
        job,
        job.cfg["steps"] if steps is None else job.step + steps,
        saved=lambda: job.export(run.folder / "export"),
        sample=lambda: contact_sheet(job.sheet(), SHOWN).save(run.samples(f"{job.step:06d}")),
    )
