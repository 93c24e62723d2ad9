"""How full a pool is, at the same cost however full it is."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Q, QuerySet, Sum

from . import tickets
from .models import KEY_SPACE, Avatar, Batch, OldStock, Pool
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
    discarded = Q(old_stock=OldStock.DISCARD)
    under_way = Batch.objects.filter(pool=pool, state__in=Batch.UNDER_WAY).order_by()
    by_release = under_way.values_list("release").annotate(
        all=Sum("count"), wanted=Sum("count", filter=~discarded, default=0)
    )
    counted = list(by_release)
    return Level(
        available=available(pool),
        under_way=sum(count for _, count, _ in counted),
        coming=round(sum(wanted * share_kept(release) for release, _, wanted in counted if wanted)),
        waiting=tickets.waiting(pool).count(),
    )


def available(pool: Pool) -> int:
    return sum(_count(pool, lane) for lane in ((-KEY_SPACE, 0) if pool.old_first else (0,)))


def _count(pool: Pool, lane: int) -> int:
    keys = _keys(pool, lane)
    last = keys[COUNTED - 1 : COUNTED].first()
    if last is None:
        return keys.count()
    # The keys lie at random in their lane, so where the last one counted lies says how dense.
    return round(COUNTED * KEY_SPACE / max(last - lane, 1))


def _keys(pool: Pool, lane: int = 0) -> QuerySet[Avatar, int]:
    offers = Avatar.objects.filter(pool=pool, state=Avatar.State.AVAILABLE)
    inside = offers.filter(key__gte=lane, key__lt=lane + KEY_SPACE)
    return inside.order_by("key").values_list("key", flat=True)
