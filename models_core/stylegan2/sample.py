"""Seeds: one gives one latent, whatever else is drawn with it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

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
