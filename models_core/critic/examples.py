"""What the critic learns from: real art, made faults, and samples of early snapshots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from glob import glob
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from PIL import Image
from scipy import ndimage
from torch import Tensor

from models_core.critic.faults import FAULTS
from models_core.critic.harm import NAMES, Frame, fault_map, harm, visible
from models_core.critic.parts import PART_FAULTS, part_map
from models_core.data.dataset import ImageFolder
from models_core.data.own import own_images


@dataclass(frozen=True)
class Shares:
    """How a batch is mixed."""

    snapshots: float = 0.25  # snapshots' samples, for each pair of a real and a harmed picture
    two_faults: float = 0.35  # of the harmed pictures, how many have a second fault
    parts: float = 0.0  # of the faults, how many are of one small part (0: as often as any other)


@dataclass(frozen=True)
class Snapshots:
    """Images that an under-trained model made, judged alike: uint8 [n, size, size, 3]."""

    pixels: np.ndarray
    strength: float


@dataclass(frozen=True)
class Example:
    """One picture (float32 [size, size, 3] in 0…1) and what is wrong with it."""

    pixels: np.ndarray
    strength: float  # of its fault; 0 for real art
    places: np.ndarray  # [cells, cells] in 0…1: where it is seen; NaN where nobody knows


class Batch(NamedTuple):
    images: Tensor  # [n, 3, size, size] in [-1, 1]
    wanted: Tensor  # scores [n]: 1 - strength
    places: Tensor  # [n, cells, cells]: the same place by place; NaN where nobody knows

    def to(self, device: torch.device) -> Batch:
        return Batch(*(part.to(device) for part in self))


class Examples:
    """Batches of pictures and wanted scores, each decided by its generator alone.

    The wanted score of a picture is one minus the strength of its fault, 1 for real art. Nothing
    may be told by what nobody can see (generated pictures are never as even as rendered ones), so
    every picture, real or not, is disturbed imperceptibly first.
    """

    def __init__(
        self,
        real: Sequence[Frame],
        snapshots: Sequence[Snapshots],
        shares: Shares,
        faults: Sequence[str] = NAMES,
        cells: int = 8,
    ) -> None:
        self.real, self.snapshots = real, [group for group in snapshots if len(group.pixels)]
        self.shares, self.faults, self.cells = shares, list(faults), cells
        self.part_faults = [name for name in faults if name in PART_FAULTS]

    def batch(self, count: int, dice: Generator) -> Batch:
        """Mostly pairs of a picture with and without a fault: only the fault tells them."""
        examples: list[Example] = []
        while len(examples) < count:
            if self.snapshots and dice.random() < self.shares.snapshots:
                examples.append(self._snapshot(dice))
            examples += self._pair(dice)
        chosen = examples[:count]
        images = np.stack([disturbed(example.pixels, dice) for example in chosen])
        strengths = torch.tensor([example.strength for example in chosen])
        places = torch.from_numpy(np.stack([example.places for example in chosen]))
        return Batch(to_input(images), 1 - strengths.float(), 1 - places)

    def _snapshot(self, dice: Generator) -> Example:
        group = self.snapshots[int(dice.integers(len(self.snapshots)))]
        pixels = group.pixels[dice.integers(len(group.pixels))].astype(np.float32) / 255
        return Example(pixels, group.strength, self._everywhere(np.nan))

    def _pair(self, dice: Generator) -> list[Example]:
        """A real picture, and the same with one or two faults."""
        frame = self.real[int(dice.integers(len(self.real)))]
        image, other = frame.two(dice)
        bad, strength = self._harmed(image, other, frame, dice)
        if dice.random() < self.shares.two_faults:
            bad, second = self._harmed(bad, other, frame, dice)
            strength = 1 - (1 - strength) * (1 - second)
        places = strength * fault_map(image, bad, self.cells)
        return [Example(image, 0.0, self._everywhere(0)), Example(bad, strength, places)]

    def _harmed(
        self, image: np.ndarray, other: np.ndarray, frame: Frame, dice: Generator
    ) -> tuple[np.ndarray, float]:
        small = self.part_faults and dice.random() < self.shares.parts
        name = str(dice.choice(self.part_faults if small else self.faults))
        strength = dice.random()
        bad = harm(image, other, strength, dice, name, frame.parts)
        return bad, strength * visible(image, bad)

    def _everywhere(self, value: float) -> np.ndarray:
        return np.full((self.cells, self.cells), value, np.float32)


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


def real_images(recipe: Mapping[str, Any], split: str) -> list[Frame]:
    """Each frame (whole, crop) that the recipe names, its parts by the tag groups in `parts`."""
    folder, size = ImageFolder(own_images(recipe), split), recipe["network"]["size"]
    groups = recipe.get("parts", ())
    if unknown := [group for group in groups if group not in folder.vocabulary.groups]:
        known = ", ".join(folder.vocabulary.groups)
        raise ValueError(f"no tag group {unknown[0]!r} in {folder.root}; there are {known}")
    frames = []
    for kind in recipe["kinds"]:
        pixels = folder.pixels(kind, size)
        tags = {group: [str(row["tags"].get(group, "")) for row in folder.rows] for group in groups}
        frames.append(Frame(pixels, [part_map(pixels, tags[group]) for group in groups]))
    return frames


def made_faults(recipe: Mapping[str, Any]) -> list[str]:
    """The faults to make: those the recipe names in `faults`, or all; those of parts only where it
    says what the parts are.
    """
    names = list(recipe.get("faults", NAMES if recipe.get("parts") else FAULTS))
    if unknown := [name for name in names if name not in NAMES]:
        raise ValueError(f"no fault {unknown[0]!r}; there are {', '.join(NAMES)}")
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
