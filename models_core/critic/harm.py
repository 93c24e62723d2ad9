"""Harming pictures: every fault by its name, and how much of it can be seen, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from scipy import ndimage

from models_core.critic.faults import FAULTS, Pixels
from models_core.critic.parts import PART_FAULTS, part_mask

NAMES = (*FAULTS, *PART_FAULTS)
SEEN = 0.12  # a change of brightness or colour that nobody overlooks, of 1


@dataclass(frozen=True)
class Frame:
    """Real pictures in one frame (whole or crop), and where their facial parts are."""

    pixels: np.ndarray  # uint8 [n, size, size, 3]
    parts: Sequence[np.ndarray] = ()  # maps [size, size] that sum to 1

    def two(self, dice: Generator) -> tuple[Pixels, Pixels]:
        """A picture and another, float32 in 0…1."""
        index = dice.integers(len(self.pixels), size=2)
        image, other = self.pixels[index].astype(np.float32) / 255
        return image, other


def harm(
    image: Pixels,
    other: Pixels,
    strength: float,
    dice: Generator,
    name: str,
    parts: Sequence[np.ndarray] = (),
) -> Pixels:
    """The named fault at this strength; float32, clipped to 0…1."""
    if name in FAULTS:
        bad = FAULTS[name](image, strength, dice, other)
    else:
        bad = PART_FAULTS[name](image, strength, dice, other, part_mask(image, parts, dice))
    return np.clip(bad, 0, 1).astype(np.float32)


def visible(image: Pixels, bad: Pixels) -> float:
    """From 0 to 1: a fault that hardly changed the picture is none, whatever its strength."""
    return min(float(np.abs(bad - image).max()) / SEEN, 1.0)


def fault_map(image: Pixels, bad: Pixels, cells: int) -> np.ndarray:
    """How visibly each of cells × cells places was changed: float32 [cells, cells] in 0…1."""
    side = len(image) // cells
    change = ndimage.uniform_filter(np.abs(bad - image).max(axis=2), 2)
    worst = change.reshape(cells, side, cells, side).max(axis=(1, 3))
    return np.minimum(worst / SEEN, 1).astype(np.float32)
