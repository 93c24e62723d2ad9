"""Drawing prototypes from seeds: one seed gives one picture, whatever else is drawn with it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from models_core.data.dataset import TagVocabulary, to_pixels
from models_core.releases.traits import Traits
from models_core.stylegan2.checkpoint import Description
from models_core.stylegan2.generator import Generator

MAX_SEEDS = 4096


def parse_seeds(text: str) -> list[int]:
    """`"0-3,8"` → [0, 1, 2, 3, 8]."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"seeds are numbers and ranges such as 0-47,99, not {text!r}")
        low, high = int(first), int(last or first)
        if high < low or high - low >= MAX_SEEDS:
            raise ValueError(f"the range {part} is empty or holds over {MAX_SEEDS} seeds")
        seeds.extend(range(low, high + 1))
    if len(seeds) > MAX_SEEDS:
        raise ValueError(f"{len(seeds)} seeds are too many for one sheet (at most {MAX_SEEDS})")
    return seeds


def latents(seeds: Sequence[int], z_dim: int) -> Tensor:
    """z [N, z_dim], each row from its own seed, on the CPU (as the pipeline draws them)."""
    rows = [torch.randn(z_dim, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(rows)


@torch.no_grad()
def draw(
    generator: Generator,
    about: Description,
    seeds: Sequence[int],
    *,
    tags: Sequence[str] = (),
    truncation: float = 1.0,
    batch: int = 16,
) -> tuple[np.ndarray, list[tuple[str, ...]]]:
    """One prototype a seed, with `tags` and otherwise tags drawn by their frequency.

    Returns uint8 [N, R, R, 3] and each picture's tags. Unknown or clashing tags are a ValueError.
    """
    traits, vocabulary = Traits(about.tags, about.rules), TagVocabulary(about.tags)
    drawn = [traits.draw(seed, tags) for seed in seeds]
    labels = vocabulary.labels([list(row) for row in drawn])
    z = latents(seeds, generator.z_dim)
    device = next(generator.parameters()).device
    pictures = []
    for start in range(0, len(seeds), batch):
        part = slice(start, start + batch)
        image = generator(
            z[part].to(device),
            labels[part].to(device),
            truncation_psi=truncation,
            noise_mode="const",
        )
        pictures.append(to_pixels(image))
    return np.concatenate(pictures), drawn
