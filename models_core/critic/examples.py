"""What the critic learns from: real art, made faults, and samples of early snapshots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from glob import glob
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from PIL import Image
from scipy import ndimage
from torch import Tensor

from models_core.critic.faults import FAULTS, harm
from models_core.data.dataset import ImageFolder


@dataclass(frozen=True)
class Shares:
    """How a batch is mixed."""

    snapshots: float = 0.25  # snapshots' samples, for each pair of a real and a harmed picture
    two_faults: float = 0.35  # of the harmed pictures, how many have a second fault


@dataclass(frozen=True)
class Snapshots:
    """Images that an under-trained model made, judged alike: uint8 [n, size, size, 3]."""

    pixels: np.ndarray
    strength: float


class Examples:
    """Batches of (images in [-1, 1], wanted scores), each decided by its generator alone.

    The wanted score of a picture is one minus the strength of its fault, 1 for real art. Nothing
    may be told by what nobody can see (generated pictures are never as even as rendered ones), so
    every picture, real or not, is disturbed imperceptibly first.
    """

    def __init__(
        self,
        real: Sequence[np.ndarray],
        snapshots: Sequence[Snapshots],
        shares: Shares,
        faults: Sequence[str] = tuple(FAULTS),
    ) -> None:
        self.real, self.snapshots = real, [group for group in snapshots if len(group.pixels)]
        self.shares, self.faults = shares, list(faults)

    def batch(self, count: int, dice: Generator) -> tuple[Tensor, Tensor]:
        """Mostly pairs of a picture with and without a fault: only the fault tells them."""
        examples: list[tuple[np.ndarray, float]] = []
        while len(examples) < count:
            if self.snapshots and dice.random() < self.shares.snapshots:
                examples.append(self._snapshot(dice))
            examples += self._pair(dice)
        images = np.stack([disturbed(pixels, dice) for pixels, _ in examples[:count]])
        return to_input(images), torch.tensor([1 - strength for _, strength in examples[:count]])

    def _snapshot(self, dice: Generator) -> tuple[np.ndarray, float]:
        group = self.snapshots[int(dice.integers(len(self.snapshots)))]
        pixels = group.pixels[dice.integers(len(group.pixels))]
        return pixels.astype(np.float32) / 255, group.strength

    def _pair(self, dice: Generator) -> list[tuple[np.ndarray, float]]:
        """A real picture, and the same with one or two faults."""
        kind = self.real[int(dice.integers(len(self.real)))]
        image, other = kind[dice.integers(len(kind), size=2)].astype(np.float32) / 255
        strength = dice.random()
        bad = harm(image, other, strength, dice, str(dice.choice(self.faults)))
        if dice.random() < self.shares.two_faults:
            second = dice.random()
            bad = harm(bad, other, second, dice, str(dice.choice(self.faults)))
            strength = 1 - (1 - strength) * (1 - second)
        return [(image, 0.0), (bad, strength)]


def disturbed(pixels: np.ndarray, dice: Generator) -> np.ndarray:
    """Grain, softness and brightness below what a person sees."""
    if dice.random() < 0.5:
        sigma = dice.uniform(0, 0.6) * pixels.shape[0] / 128
        pixels = ndimage.gaussian_filter(pixels, (sigma, sigma, 0))
    grain = dice.standard_normal(pixels.shape, dtype=np.float32) * dice.uniform(0, 2 / 255)
    gain, shift = 1 + dice.normal(0, 0.01, 3), dice.normal(0, 0.004, 3)
    return np.clip(pixels * gain + shift + grain, 0, 1).astype(np.float32)


def to_input(images: np.ndarray) -> Tensor:
    """float [n, h, w, 3] in [0, 1] → the network's [n, 3, h, w] in [-1, 1], channels last."""
    return torch.from_numpy(images).permute(0, 3, 1, 2) * 2 - 1


def own_images(recipe: Mapping[str, Any]) -> Path:
    """The critic's own data set, which no other model is trained on; drawn when not there yet."""
    folder = Path(recipe["data"])
    if "draw" in recipe and not (folder / "dataset.json").exists():
        from models_core.data.build import build
        from models_core.data.recipe import Recipe

        draw = recipe["draw"]
        source = Recipe.read(Path(draw["recipe"])).with_count(draw["count"])
        own = source.redrawn(folder.name, draw["seed"])
        # A fresh process: libvips leaves threads behind that a later fork would not survive.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            pool.submit(build, own, folder, processes=1).result()
    return folder


def real_images(recipe: Mapping[str, Any], split: str) -> list[np.ndarray]:
    """uint8 [n, size, size, 3] for each frame (whole, crop) that the recipe names."""
    folder, size = ImageFolder(own_images(recipe), split), recipe["network"]["size"]
    return [folder.pixels(kind, size) for kind in recipe["kinds"]]


def made_faults(recipe: Mapping[str, Any]) -> list[str]:
    """The faults to make: those the recipe names in `faults`, or all."""
    names = list(recipe.get("faults", FAULTS))
    if unknown := [name for name in names if name not in FAULTS]:
        raise ValueError(f"no fault {unknown[0]!r}; there are {', '.join(FAULTS)}")
    return names


def read_snapshots(recipe: Mapping[str, Any]) -> list[Snapshots]:
    """The `[[snapshots]]` of a recipe: `files` (a glob), `strength`, and `tile` for sheets.

    Files that are not there (yet) are no error: the critic needs no snapshots, it knows made
    faults too.
    """
    groups = []
    for row in recipe.get("snapshots", ()):
        size, tile = recipe["network"]["size"], row.get("tile")
        images = [
            part.resize((size, size), Image.Resampling.BICUBIC)
            for file in sorted(glob(row["files"]))  # noqa: PTH207  may be absolute
            for part in _tiles(Image.open(file).convert("RGB"), tile)
        ]
        pixels = [np.asarray(image, dtype=np.uint8) for image in images]
        stacked = np.stack(pixels) if pixels else np.zeros((0, size, size, 3), np.uint8)
        groups.append(Snapshots(stacked, float(row["strength"])))
    return groups


def _tiles(sheet: Image.Image, tile: int | None) -> list[Image.Image]:
    if tile is None:
        return [sheet]
    return [
        sheet.crop((x, y, x + tile, y + tile))
        for y in range(0, sheet.height - tile + 1, tile)
        for x in range(0, sheet.width - tile + 1, tile)
    ]
