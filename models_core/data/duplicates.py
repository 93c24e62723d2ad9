"""Exact and near duplicates."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
from PIL import Image

GRID = 16


def look_of(image: Image.Image) -> str:
    """Mean colours of a GRID×GRID grid, as base64 text for a journal.

    Portraits share their outline, so hashes of brightness steps call many of them alike; mean
    colours tell hair, eyes and clothes apart, and forgive another size or compression.
    """
    small = image.resize((GRID, GRID), Image.Resampling.LANCZOS)
    return base64.b64encode(small.tobytes()).decode()


def near_duplicates(
    looks: Sequence[str], distance: float, rank: Sequence[int] | None = None
) -> dict[int, int]:
    """Which pictures nearly repeat another: index of the one to drop → of the one kept.

    Two are near when no cell's colour differs by `distance` (of 255) or more. Of two near ones
    the higher `rank` stays (its pixels, say), the earlier where they are even.
    """
    from scipy.spatial import cKDTree

    if distance <= 0 or len(looks) < 2:
        return {}
    cells = np.stack([np.frombuffer(base64.b64decode(look), np.uint8) for look in looks])
    # Chebyshev distance gives up on a pair at the first cell that differs, so this stays quick.
    pairs = cKDTree(cells.astype(np.float32)).query_pairs(distance - 1e-3, p=np.inf)
    near: dict[int, list[int]] = {}
    for a, b in pairs:
        near.setdefault(a, []).append(b)
        near.setdefault(b, []).append(a)
    worth = rank or [0] * len(looks)
    dropped: dict[int, int] = {}
    for index in sorted(near, key=lambda i: (-worth[i], i)):
        if index not in dropped:
            for other in near[index]:
                dropped.setdefault(other, index)
    return dropped
