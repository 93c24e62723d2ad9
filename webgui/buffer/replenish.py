"""Keeping every pool between its watermarks: what each lacks, ordered in turns."""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import IntEnum

from django.db import transaction
from django.db.models import Count, Min, Q, QuerySet
from django.utils import timezone

from generator_worker.contract import MAX_BATCH
from webgui.fleet import dispatch
from webgui.fleet.dispatch import Fleet
from webgui.registry.models import Release
from webgui.watching import tallies

from . import canary, orders, tickets
from .levels import Level, level
from .models import Batch, Pool
from .progress import patience
from .yields import draws_for, in_vain, share_kept

SEEDS = 2**53
# Where few of a release's images are kept, a batch for tags may be so many times larger.
LARGER_FOR_TAGS = 4
PASSED_OVER = timedelta(minutes=2)  # so long without an order, a pool's turn has come


def replenish() -> int:
    """Order what the pools lack, in turns; returns how many batches.

    Bounded by what each worker at work can be behind by. Two clocks at once order no more than
    one: all is decided with every pool locked, from what is ordered by then.
    """
    if not orders.muster().has_room or not any(_wish(pool) for pool in _pools_to_serve()):
        return 0
    with transaction.atomic():
        list(Pool.objects.select_for_update(no_key=True).order_by("pk").values_list("pk"))
        batches = _order_in_turn()
        tallies.add(*(("orders", {"pool": batch.pool.slug}, 1) for batch in batches))
    for batch in batches:
        orders.send_order(batch)
    return len(batches)


def _order_in_turn() -> list[Batch]:
    """Rounds in which each pool that lacks something gets one batch, while workers have room."""
    fleet = orders.muster()
    placed: list[Batch] = []
    while fleet.has_room:
        wishes = [wish for pool in _pools_to_serve() if (wish := _wish(pool))]
        wishes.sort(key=lambda wish: wish.turn)
        batches = [batch for wish in wishes if (batch := _place(wish, fleet))]
        if not batches:
            break
        placed += batches
    return placed


def _pools_to_serve() -> QuerySet[Pool]:
    now = timezone.now()
    return (
        Pool.objects.select_related("release", "canary")
        .filter(Q(backoff_until=None) | Q(backoff_until__lte=now), paused=False)
        .exclude(release__state=Release.State.RETIRED)
    )


class Need(IntEnum):
    """How badly a pool wants its next batch."""

    VISITORS = 0  # some wait for what nothing under way will bring, or its turn is long due
    LOW = 1  # below its low watermark
    FILLING = 2


@dataclass(frozen=True)
class Wish:
    """The next batch a pool wants."""

    pool: Pool
    need: Need
    images: int  # wanted in the buffer
    soon: bool  # the first of them are what counts
    last: Batch | None  # the pool's last order
    params: dict[str, list[str]] = field(default_factory=dict)

    @property
    def turn(self) -> tuple[int, datetime, int]:
        """The neediest first; of these, whose last order is the oldest: whatever their sizes, all
        of them get the same share of the workers' time and none is passed over twice."""
        last = self.last.ordered_at if self.last else datetime.min.replace(tzinfo=UTC)
        return self.need, last, self.pool.pk


def _wish(pool: Pool) -> Wish | None:
    last = Batch.objects.filter(pool=pool).order_by("-ordered_at").first()
    for_tickets, for_stock = _wish_for_tickets(pool, last), _wish_for_stock(pool, last)
    if for_tickets and for_stock:
        # In turns: those who wait for tags must not keep everybody else's shelf empty.
        return for_stock if last is not None and last.params else for_tickets
    return for_tickets or for_stock


def _wish_for_stock(pool: Pool, last: Batch | None) -> Wish | None:
    """The watermark rule: below low, fill until high."""
    now = level(pool)
    filling = now.expected < (pool.high_watermark if pool.filling else pool.low_watermark)
    if filling != pool.filling:
        Pool.objects.filter(pk=pool.pk).update(filling=filling)
    if not filling:
        return None
    return Wish(
        pool=pool,
        need=_need(pool, now, last),
        images=pool.high_watermark - now.expected,
        soon=now.expected <= 0,
        last=last,
    )


def _need(pool: Pool, now: Level, last: Batch | None) -> Need:
    if now.expected >= pool.low_watermark:
        return Need.FILLING
    # However many visitors another pool has, this one gets an order now and then.
    passed_over = last is None or last.ordered_at < timezone.now() - PASSED_OVER
    return Need.VISITORS if now.expected < 0 or passed_over else Need.LOW


def _wish_for_tickets(pool: Pool, last: Batch | None) -> Wish | None:
    """A batch made to measure for visitors who wait for tags that nothing under way will bring."""
    tagged = tickets.waiting(pool).exclude(tags=[]).order_by()
    for row in tagged.values("tags").annotate(many=Count("id"), since=Min("created_at")):
        params = {"tags": row["tags"]}
        under_way = Batch.objects.filter(pool=pool, params=params, state__in=Batch.UNDER_WAY)
        if not under_way.exists() and not in_vain(pool, row["tags"], row["since"]):
            return Wish(pool, Need.VISITORS, row["many"], True, last, params)
    return None


def _place(wish: Wish, fleet: Fleet) -> Batch | None:
    """Order it of whoever has the first images soonest; None where nobody has room for it."""
    release = canary.release_for(wish.pool, wish.params.get("tags", ()))
    worker = fleet.choose(release.digest)
    if worker is None and release != wish.pool.release:
        release = wish.pool.release  # nobody can make the canary's: that must not hold up the rest
        worker = fleet.choose(release.digest)
    if worker is None:
        return None
    canary.count_order(wish.pool, release)
    count = _count(wish, release, dispatch.size(worker, release.digest, wish.soon))
    work = count * worker.seconds_per_image(release.digest)
    deadline = patience(
        fleet.seconds_in_hand(worker.name) + work, loading=release.digest not in worker.loaded
    )
    fleet.burden(worker.name, release.digest, count)
    return Batch.objects.create(
        pool=wish.pool,
        release=release,
        worker=worker.name,
        count=count,
        # Nobody may draw the same picture twice, so every batch has its own stretch of seeds.
        base_seed=secrets.randbelow(SEEDS - count),
        params=wish.params,
        deadline=timezone.now() + deadline,
        request=_on_whose_account(wish),
    )


def _on_whose_account(wish: Wish) -> str:
    """The web request of the first in line for it, if anybody waits."""
    line = tickets.waiting(wish.pool).filter(tags=wish.params.get("tags", []))
    return line.values_list("request", flat=True).first() or "" if wish.soon else ""


def _count(wish: Wish, release: Release, size: int) -> int:
    """How many to draw: what is lacking and what curation will drop of it, in orders of `size`."""
    size = min(size, wish.pool.batch_size, MAX_BATCH)
    share = share_kept(release.pk)
    if wish.params:
        most = min(MAX_BATCH, LARGER_FOR_TAGS * size)
        return max(2, draws_for(min(size, wish.images), share, most))
    return min(size, max(dispatch.FIRST_COUNT, math.ceil(wish.images / share)))
