"""Keeping every pool between its watermarks: ordering, re-ordering, giving up."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass, field
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Count, F, Min, Q, QuerySet
from django.utils import timezone

from generator_worker.contract import MAX_BATCH, BatchFailed
from webgui.fleet import roster
from webgui.fleet.hearsay import clean
from webgui.registry.models import Release

from . import inbox, orders, tickets
from .levels import Level, level
from .models import Batch, Pool
from .progress import patience
from .yields import draws_for, in_vain, share_kept

SEEDS = 2**53
# Where few of a release's images are kept, a batch for tags may be so many times larger.
LARGER_FOR_TAGS = 4
FIRST_PAUSE, LONGEST_PAUSE = 15, 600  # seconds, after failures in a row
log = logging.getLogger(__name__)


def replenish() -> int:
    """Order what the pools lack, the emptiest first, one batch each in turn; returns how many.

    Bounded by what the alive workers can be behind by. Two clocks at once order no more than
    one: all is decided with every pool locked, from what is ordered by then.
    """
    if room_in_flight() <= 0 or not any(_wish(pool) for pool in _pools_to_serve()):
        return 0
    with transaction.atomic():
        list(Pool.objects.select_for_update(no_key=True).order_by("pk").values_list("pk"))
        batches = _order_in_turn()
    for batch in batches:
        orders.send_order(batch)
    return len(batches)


def room_in_flight() -> int:
    in_flight = Batch.objects.filter(state=Batch.State.ORDERED).count()
    return roster.alive().count() * settings.BATCHES_PER_WORKER - in_flight


def _order_in_turn() -> list[Batch]:
    placed: list[Batch] = []
    room = room_in_flight()
    while room > len(placed):
        wishes = [wish for pool in _pools_to_serve() if (wish := _wish(pool))]
        wishes.sort(key=lambda wish: wish.fullness)
        if not wishes:
            break
        placed += [_write_order(wish) for wish in wishes[: room - len(placed)]]
    return placed


def _pools_to_serve() -> QuerySet[Pool]:
    now = timezone.now()
    return (
        Pool.objects.select_related("release")
        .filter(Q(backoff_until=None) | Q(backoff_until__lte=now), paused=False)
        .exclude(release__state=Release.State.RETIRED)
    )


@dataclass(frozen=True)
class Wish:
    """The next batch a pool wants."""

    pool: Pool
    count: int
    fullness: float
    params: dict[str, list[str]] = field(default_factory=dict)


def _wish(pool: Pool) -> Wish | None:
    now = level(pool)
    fullness = now.expected / max(1, pool.high_watermark)
    for_tickets, for_stock = _wish_for_tickets(pool, fullness), _wish_for_stock(pool, now, fullness)
    if for_tickets and for_stock:
        # In turns: those who wait for tags must not keep everybody else's shelf empty.
        last = Batch.objects.filter(pool=pool).order_by("-ordered_at").first()
        return for_stock if last is not None and last.params else for_tickets
    return for_tickets or for_stock


def _wish_for_stock(pool: Pool, now: Level, fullness: float) -> Wish | None:
    """The watermark rule: below low, fill until high."""
    filling = now.expected < (pool.high_watermark if pool.filling else pool.low_watermark)
    if filling != pool.filling:
        Pool.objects.filter(pk=pool.pk).update(filling=filling)
    return Wish(pool, pool.batch_size, fullness) if filling else None


def _wish_for_tickets(pool: Pool, fullness: float) -> Wish | None:
    """A batch made to measure for visitors who wait for tags that nothing under way will bring."""
    tagged = tickets.waiting(pool).exclude(tags=[]).order_by()
    for row in tagged.values("tags").annotate(many=Count("id"), since=Min("created_at")):
        params = {"tags": row["tags"]}
        under_way = Batch.objects.filter(pool=pool, params=params, state__in=Batch.UNDER_WAY)
        if not under_way.exists() and not in_vain(pool, row["tags"], row["since"]):
            return Wish(pool, _draws_for_tickets(pool, row["many"]), fullness, params)
    return None


def _draws_for_tickets(pool: Pool, many: int) -> int:
    wanted = min(pool.batch_size, many)
    most = min(MAX_BATCH, LARGER_FOR_TAGS * pool.batch_size)
    return max(2, draws_for(wanted, share_kept(pool.release_id), most))


def _write_order(wish: Wish) -> Batch:
    ahead = Batch.objects.filter(state=Batch.State.ORDERED).count()
    pool, count = wish.pool, wish.count
    return Batch.objects.create(
        pool=pool,
        release=pool.release,
        count=count,
        # Nobody may draw the same picture twice, so every batch has its own stretch of seeds.
        base_seed=secrets.randbelow(SEEDS - count),
        params=wish.params,
        deadline=timezone.now() + patience(count, ahead, pool.release.digest),
    )


def reconcile() -> int:
    """Find lost orders and ring again for those still wanted; returns how many were re-issued."""
    mark_overdue()
    reissued = 0
    overdue = Batch.objects.filter(state=Batch.State.OVERDUE).select_related("pool", "release")
    for batch in overdue.order_by("ordered_at"):
        if batch.attempt >= Batch.MAX_ATTEMPTS:
            give_up(batch, f"No worker delivered it in {batch.attempt} attempts.")
        elif not _still_wanted(batch):
            give_up(batch, "Overdue, and the pool no longer needs it.", trouble=False)
        elif room_in_flight() > 0:
            reissued += _reissue(batch)
    return reissued


def mark_overdue() -> int:
    """Orders past their deadline, begun by a worker that fell silent, or delivered and lost."""
    now = timezone.now()
    silent = now - timedelta(seconds=settings.BATCH_SILENCE_SECONDS)
    # A finished batch (fraction 1) is on its way or spooled: only its deadline counts.
    went_silent = Q(progress_at__lt=silent, fraction__lt=1)
    lost = Q(state=Batch.State.ORDERED) & (Q(deadline__lt=now) | went_silent)
    marked = Batch.objects.filter(lost).update(state=Batch.State.OVERDUE)
    for batch in Batch.objects.filter(state=Batch.State.DELIVERED, deadline__lt=now):
        if not inbox.holds(batch.pk):
            still = Batch.objects.filter(pk=batch.pk, state=Batch.State.DELIVERED)
            marked += still.update(state=Batch.State.OVERDUE)
    return marked


def _still_wanted(batch: Batch) -> bool:
    pool = batch.pool
    return (
        pool.release_id == batch.release_id
        and not pool.paused
        and (level(pool).expected < pool.high_watermark or bool(batch.params))
    )


def _reissue(batch: Batch) -> bool:
    changed = Batch.objects.filter(
        pk=batch.pk, state=Batch.State.OVERDUE, attempt=batch.attempt
    ).update(
        state=Batch.State.ORDERED,
        attempt=F("attempt") + 1,
        deadline=timezone.now() + patience(batch.count, 1, batch.release.digest),
        fraction=0,
        note="",
        worker="",
        progress_at=None,
    )
    if changed:
        batch.attempt += 1
        log.warning("Batch %s overdue: re-issued, attempt %d", batch.pk, batch.attempt)
        orders.send_order(batch)
    return bool(changed)


def give_up(batch: Batch, reason: str, trouble: bool = True) -> bool:
    """Let an order go. Trouble holds the pool's orders up; a batch for somebody's tags never
    does, or one visitor's odd wish could stop the pool."""
    reason = clean(reason)
    changed = Batch.objects.filter(
        pk=batch.pk, state__in=(Batch.State.ORDERED, Batch.State.OVERDUE), attempt=batch.attempt
    ).update(state=Batch.State.FAILED, reason=reason, settled_at=timezone.now())
    if changed and trouble and not batch.params:
        note_trouble(batch.pool, f"Batch {batch.pk}: {reason}")
    return bool(changed)


def refused(message: BatchFailed) -> bool:
    """A worker cannot carry out an order: remember why, and do not ask again at once."""
    open_batch = Batch.objects.select_related("pool").filter(
        pk=message.batch_id,
        attempt=message.attempt,
        state__in=(Batch.State.ORDERED, Batch.State.OVERDUE),
    )
    batch = open_batch.first()
    if batch is None:
        return False
    open_batch.update(worker=message.worker, drawn=message.drawn)
    return give_up(batch, f"{message.worker}: {message.reason}")


def note_trouble(pool: Pool, reason: str, forgiven: int = 0) -> None:
    """Show the reason, and order nothing for a while that doubles with each failure in a row.

    The first `forgiven` failures cause no pause.
    """
    reason = clean(reason)
    log.warning("Pool %s: %s", pool.slug, reason)
    Pool.objects.filter(pk=pool.pk).update(failures=F("failures") + 1, trouble=reason)
    failures = Pool.objects.values_list("failures", flat=True).get(pk=pool.pk) - forgiven
    if failures > 0:
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failures - 1, 10))
        Pool.objects.filter(pk=pool.pk).update(
            backoff_until=timezone.now() + timedelta(seconds=pause)
        )


def clear_trouble(pool: Pool) -> None:
    Pool.objects.filter(pk=pool.pk, failures__gt=0).update(
        failures=0, trouble="", backoff_until=None
    )
