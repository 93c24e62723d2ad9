"""How full a pool is, at the same cost however full it is."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import QuerySet, Sum

from . import tickets
from .models import KEY_SPACE, Avatar, Batch, Pool
from .yields import share_kept

COUNTED = 10_000
"""More than this many avatars are not counted but estimated, mostly within 2 percent."""


@dataclass(frozen=True)
class Level:
    """How full a pool is, in images."""

    available: int
    under_way: int  # ordered or delivered
    coming: int  # what these will bring, as far as is known
    waiting: int

    @property
    def expected(self) -> int:
        return self.available + self.coming - self.waiting


def level(pool: Pool) -> Level:
    batches = Batch.objects.filter(pool=pool, state__in=Batch.UNDER_WAY)
    under_way = batches.aggregate(sum=Sum("count"))["sum"] or 0
    return Level(
        available=available(pool),
        under_way=under_way,
        coming=round(under_way * share_kept(pool.release_id)) if under_way else 0,
        waiting=tickets.waiting(pool).count(),
    )


def available(pool: Pool) -> int:
    keys = _keys(pool)
    last = keys[COUNTED - 1 : COUNTED].first()
    if last is None:
        return keys.count()
    # The keys lie at random on their ring, so where the last one counted lies says how dense.
    return round(COUNTED * KEY_SPACE / max(last, 1))


def _keys(pool: Pool) -> QuerySet[Avatar, int]:
    offers = Avatar.objects.filter(pool=pool, state=Avatar.State.AVAILABLE)
    return offers.order_by("key").values_list("key", flat=True)
