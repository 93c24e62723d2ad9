"""How a pool stands, for its administrators: level, releases, orders, what it could return to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Count, QuerySet

from webgui.registry.models import Release

from . import activation, canary
from .levels import Level, level
from .models import Avatar, Batch, Pool
from .yields import measured_share

ORDERS_SHOWN = 20
State = Avatar.State
Counts = dict[tuple[int, str], int]  # of images, by release and state


@dataclass(frozen=True)
class Making:
    """A release as the pool makes it."""

    release: Release
    benign: float | None  # of what was drawn lately, the share that reached the buffer
    available: int  # images of it in the buffer
    discarded: int  # images of it that would come back with it


@dataclass(frozen=True)
class Standing:
    pool: Pool
    level: Level
    release: Making
    canary: Making | None
    previous: Making | None  # what rolling back leads to
    old: int  # images of other releases that are still handed out
    orders: list[Batch]

    @property
    def canary_given_up(self) -> bool:
        return self.canary is not None and canary.is_given_up(self.pool)


def pools() -> QuerySet[Pool]:
    return Pool.objects.select_related("release", "canary")


def standings(rows: Iterable[Pool]) -> list[Standing]:
    return [standing(pool) for pool in rows]


def standing(pool: Pool) -> Standing:
    now = level(pool)
    latest = activation.last_activation(pool)
    counts = _counts(pool)
    release = _making(pool.release, counts)
    tried = _making(pool.canary, counts) if pool.canary else None
    available = sum(count for (_, state), count in counts.items() if state == State.AVAILABLE)
    orders = Batch.objects.filter(pool=pool, state__in=Batch.UNDER_WAY).select_related("release")
    return Standing(
        pool=pool,
        level=now,
        release=release,
        canary=tried,
        previous=_making(latest.before, counts) if latest else None,
        old=available - release.available - (tried.available if tried else 0),
        orders=list(orders.order_by("ordered_at")[:ORDERS_SHOWN]),
    )


def _making(release: Release, counts: Counts) -> Making:
    return Making(
        release=release,
        benign=measured_share(release.pk),
        available=counts.get((release.pk, State.AVAILABLE), 0),
        discarded=counts.get((release.pk, State.RETIRED), 0),
    )


def _counts(pool: Pool) -> Counts:
    """Along the index that claims read: claimed ones, of which there are many more, are not
    looked at."""
    here = Avatar.objects.filter(pool=pool, state__in=(State.AVAILABLE, State.RETIRED))
    rows = here.order_by().values_list("release", "state").annotate(Count("pk"))
    return {(release, state): count for release, state, count in rows}
