"""Near-duplicates of what the pool has had before, claimed ones too: found at a flat cost.

Curation compares the pictures of one batch; here they meet those of all batches and workers. The
measure is the same: the mean colours of a coarse grid, alike if no cell differs much.

Not every earlier grid can be looked at, so each is filed under a few keys. A key says of some
cells, picked at random once for all, whether they are brighter than thresholds picked likewise.
Pictures that differ little seldom lie on two sides of a threshold, so that they share at least
one of their keys; others share one about once in a thousand pairs (measured on aligned faces).
Of those the newest are compared cell by cell.

Locality-sensitive hashing: Indyk and Motwani, "Approximate nearest neighbors", STOC 1998.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from PIL import Image

from generator_worker.contract import LOOK_GRID, MIN_DISTANCE

from .models import Look, LookKey, Pool

if TYPE_CHECKING:
    from .models import Avatar
    from .pictures import Picture

KEYS = 4
CELLS_A_KEY = 96
NEWEST = 50  # looks of each key that are compared at most


def look_of(image: Image.Image) -> bytes:
    """Mean colours of a coarse grid, red, green and blue of each cell from 0 to 255."""
    small = image.convert("RGB").resize((LOOK_GRID, LOOK_GRID), Image.Resampling.BOX)
    return small.tobytes()


def alike(one: bytes, other: bytes, distance: float) -> bool:
    """Whether no cell differs by `distance`. Most pairs are told apart by the first few cells."""
    for a, b in zip(one, other, strict=True):  # noqa: SIM110 (all() takes three times as long)
        if not -distance < a - b < distance:
            return False
    return True


def distance_of(params: Mapping[str, Any]) -> float:
    """What a release's parameters ask for; 0 lets everything through."""
    asked = params.get("min_distance")
    usable = isinstance(asked, int | float) and not isinstance(asked, bool) and 0 <= asked <= 255
    return float(asked) if usable else MIN_DISTANCE  # type: ignore[arg-type]


def unlike(pool: Pool, pictures: Sequence[Picture], distance: float) -> list[Picture]:
    """Those that are not much like an earlier one of the pool, nor like each other.

    Call it with the pool's row locked, or two batches may bring the same at once.
    """
    if distance == 0:
        return list(pictures)
    kept: list[Picture] = []
    for picture in pictures:
        others = chain((other.look for other in kept), _earlier(pool, picture.look))
        if not any(alike(picture.look, other, distance) for other in others):
            kept.append(picture)
    return kept


def remember(pool: Pool, looks: Mapping[Avatar, bytes]) -> None:
    Look.objects.bulk_create(
        [Look(avatar=avatar, grid=look) for avatar, look in looks.items()], batch_size=200
    )
    LookKey.objects.bulk_create(
        [
            LookKey(look_id=avatar.pk, pool=pool, value=value)
            for avatar, look in looks.items()
            for value in keys_of(look)
        ],
        batch_size=200,
    )


def keys_of(look: bytes) -> list[int]:
    """The keys a look is filed under, each a number that fits a column."""
    keys = []
    for number, cells in enumerate(_CELLS):
        bits = bytes(look[cell] >= threshold for cell, threshold in cells)
        digest = hashlib.blake2b(bits, digest_size=8, salt=bytes([number])).digest()
        keys.append(int.from_bytes(digest, signed=True))
    return keys


def _earlier(pool: Pool, look: bytes) -> Iterator[bytes]:
    """Looks filed under a key of this one: of each the newest, read along the index."""
    for key in keys_of(look):
        filed = LookKey.objects.filter(pool=pool, value=key).order_by("-id")
        for grid in filed.values_list("look__grid", flat=True)[:NEWEST]:
            yield bytes(grid)


def _pick_cells() -> list[list[tuple[int, int]]]:
    """For each key (cell, threshold) pairs: random, and the same on every server for ever."""
    chance = hashlib.shake_256(b"looks").digest(KEYS * CELLS_A_KEY * 3)
    pairs = [
        (int.from_bytes(chance[at : at + 2]) % (3 * LOOK_GRID**2), max(1, chance[at + 2]))
        for at in range(0, len(chance), 3)
    ]
    return [pairs[at : at + CELLS_A_KEY] for at in range(0, len(pairs), CELLS_A_KEY)]


_CELLS = _pick_cells()
