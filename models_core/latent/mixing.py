"""Style mixing: some layers' w from one picture, the others' from another (Karras 2019, §3)."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from models_core.latent.space import LatentSpace
from models_core.stylegan2 import Generator

# The paper's levels, by the finest resolution that belongs to each.
LEVELS = {"coarse": 8, "middle": 32, "fine": 1 << 30}
MAX_CELLS = 4096


def level_of_layers(generator: Generator) -> list[str]:
    """The level of each layer's w: pose and shape, features, colours."""
    levels = []
    for resolution in generator.synthesis.resolutions:
        level = next(name for name, finest in LEVELS.items() if resolution <= finest)
        count = getattr(generator.synthesis, f"b{resolution}").num_conv
        levels += [level] * count
    return [*levels, levels[-1]]  # the last toRGB


def parse_layers(text: str, generator: Generator) -> list[int]:
    """`"coarse,middle"` or `"0-2,7"` → the layers meant, in order.

    Raises:
        ValueError: no such level or layer, or the generator is too small to have it.
    """
    levels, layers = level_of_layers(generator), set()
    for part in (p.strip() for p in text.split(",")):
        if part in LEVELS:
            own = [i for i, level in enumerate(levels) if level == part]
        elif match := re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", part):
            first, last = int(match[1]), int(match[2] or match[1])
            own = [i for i in range(first, last + 1) if i < len(levels)]
            if last >= len(levels):
                raise ValueError(f"there is no layer {last}: the last is {len(levels) - 1}")
        else:
            raise ValueError(f"layers are {', '.join(LEVELS)} or numbers such as 0-2,7: {part!r}")
        if not own:
            raise ValueError(
                f"a generator of {generator.img_resolution} pixels has no layers {part!r}; its "
                f"levels are {', '.join(dict.fromkeys(levels))}"
            )
        layers.update(own)
    return sorted(layers)


def mix(ws: Tensor, style: Tensor, layers: Sequence[int]) -> Tensor:
    """`ws` with the given layers' w of `style`. Both [N, num_ws, w_dim] (or broadcast to it)."""
    ws, style = torch.broadcast_tensors(ws, style)
    mixed = ws.clone()
    mixed[:, list(layers)] = style[:, list(layers)]
    return mixed


def mixing_grid(
    space: LatentSpace,
    rows: Tensor,
    columns: Tensor,
    layers: Sequence[int],
    *,
    row_pictures: np.ndarray | None = None,
    column_pictures: np.ndarray | None = None,
) -> np.ndarray:
    """Every row's picture with the `layers` of every column's.

    Args:
        rows, columns: ws of the sources.
        row_pictures, column_pictures: what to show of the sources; their drawings where None.

    Returns:
        uint8 [(rows + 1)·(columns + 1), R, R, 3], row by row: first the columns' pictures behind
        a white cell, then each row's picture before its mixes.
    """
    if len(rows) * len(columns) > MAX_CELLS:
        raise ValueError(f"{len(rows)}×{len(columns)} mixes are too many (at most {MAX_CELLS})")
    mixed = mix(
        rows.repeat_interleave(len(columns), dim=0), columns.repeat(len(rows), 1, 1), layers
    )
    cells = space.draw(mixed)
    left = space.draw(rows) if row_pictures is None else row_pictures
    top = space.draw(columns) if column_pictures is None else column_pictures
    blank = np.full_like(cells[:1], 255)
    parts = [blank, top]
    for i in range(len(rows)):
        parts += [left[i : i + 1], cells[i * len(columns) : (i + 1) * len(columns)]]
    return np.concatenate(parts)
