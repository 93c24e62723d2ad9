"""Which drafts are worth keeping: the critic's score, safety, and no near-duplicates in a batch.

Runs on drafts, before the costly upscale.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from PIL import Image

from generator_worker.contract import LOOK_GRID, MIN_DISTANCE
from generator_worker.refusals import BadParams


class CurationError(BadParams):
    """A threshold in the order or release is not a number within its range."""


@dataclass(frozen=True)
class Thresholds:
    min_score: float = 0.7
    """The critic calls a picture benign from here on."""
    max_unsafe: float = 0.5
    min_distance: float = MIN_DISTANCE
    """Two pictures differ if the mean colour of some cell differs by this (of 255)."""

    @classmethod
    def read(cls, *sources: Mapping[str, Any]) -> Self:
        """Take each threshold from the first source that has it."""
        found: dict[str, float] = {}
        for name, high in (("min_score", 1.0), ("max_unsafe", 1.0), ("min_distance", 255.0)):
            for source in sources:
                if name in source:
                    found[name] = _number(name, source[name], high)
                    break
        return cls(**found)


def _number(name: str, value: Any, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= high:
        raise CurationError(f"params.{name}: {value!r} is not a number from 0 to {high:g}.")
    return float(value)


@dataclass
class Curator:
    """Judges the drafts of one batch, in order; remembers what it has kept."""

    thresholds: Thresholds
    dropped: Counter[str] = field(default_factory=Counter)
    scores: list[float] = field(default_factory=list)
    _kept: list[np.ndarray] = field(default_factory=list)

    def keep(
        self, images: Sequence[Image.Image], scores: Sequence[float], safety: Sequence[float]
    ) -> list[int]:
        """Indices of the images worth keeping."""
        kept = []
        self.scores += scores
        for index, (image, score, unsafe) in enumerate(zip(images, scores, safety, strict=True)):
            # Written so that a NaN score drops the image.
            if not score >= self.thresholds.min_score:
                self.dropped["below the critic's threshold"] += 1
            elif not unsafe <= self.thresholds.max_unsafe:
                self.dropped["unsafe"] += 1
            elif self._seen_before(image):
                self.dropped["near-duplicate"] += 1
            else:
                kept.append(index)
        return kept

    def _seen_before(self, image: Image.Image) -> bool:
        look = fingerprint(image)
        if any(np.abs(look - other).max() < self.thresholds.min_distance for other in self._kept):
            return True
        self._kept.append(look)
        return False

    def summary(self) -> str:
        return ", ".join(f"{n} {why}" for why, n in self.dropped.most_common()) or "none dropped"


def fingerprint(image: Image.Image) -> np.ndarray:
    """Perceptual hash: mean colours of a coarse grid, shape (LOOK_GRID, LOOK_GRID, 3), 0 to 255.

    Aligned faces share their outline, so hashes of brightness steps (dHash and kin) call all of
    them alike; mean colours tell hair, skin, eyes and mouth apart and forgive noise.
    """
    small = image.convert("RGB").resize((LOOK_GRID, LOOK_GRID), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32)
