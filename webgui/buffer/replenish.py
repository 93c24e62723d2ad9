"""Keeping every pool between its watermarks: ordering, re-ordering, giving up."""

from __future__ import annotations

import logging
import math
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import IntEnum

from django.conf import settings
from django.db import transaction
from django.db.models import Count, F, Min, Q, QuerySet
from django.utils import timezone

from generator_worker.contract import MAX_BATCH, BatchFailed, Duty
from messaging.logs import bound
from webgui.fleet import dispatch, duty, roster
from webgui.fleet.dispatch import Fleet
from webgui.fleet.hearsay import clean
from webgui.fleet.models import Worker
from webgui.registry.models import Release
from webgui.watching import tallies

from . import canary, inbox, orders, tickets, unheard
from .levels import Level, level
from .models import Batch, Pool
from .progress import patience
from .yields import draws_for, in_vain, share_kept

SEEDS = 2**53
# Where few of a release's images are kept, a batch for tags may be so many times larger.
LARGER_FOR_TAGS = 4
PASSED_OVER = timedelta(minutes=2)  # so long without an order, a pool's turn has come
FIRST_PAUSE, LONGEST_PAUSE = 15, 600  # seconds, after failures in a row
# Kinds of `BatchFailed` that are no fault of the worker.
HANDED_BACK = "maintenance"
NO_FAULT = (
    HANDED_BACK, "empty-batch", "bad-params", "faulty-release", "unknown-release", "unreadable",
)  # fmt: skip
# The rest is counted as "other": a worker's word makes no new series.
REASONS = (
    *NO_FAULT, "not-fetched", "broken-release", "drawing-fault", "out-of-memory", "deadly-order",
    "too-long", "no-room", "unforeseen",
)  # fmt: skip
log = logging.getLogger(__name__)


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


def reconcile() -> int:
    """Find lost orders and ring again for those still wanted; returns how many were re-issued."""
    unheard.ring_again()
    mark_overdue()
    reissued = 0
    overdue = Batch.objects.filter(state=Batch.State.OVERDUE).select_related("pool", "release")
    fleet = orders.muster()
    for batch in overdue.order_by("ordered_at"):
        if batch.attempt >= Batch.MAX_ATTEMPTS:
            give_up(batch, batch.reason or f"No worker delivered it in {batch.attempt} attempts.")
        elif not _still_wanted(batch):
            give_up(batch, "Overdue, and the pool no longer needs it.", trouble=False)
        else:
            reissued += _reissue(batch, fleet)
    return reissued


def mark_overdue() -> int:
    """Orders past their deadline, of workers that fell silent or left, or delivered and lost."""
    now = timezone.now()
    silent = now - timedelta(seconds=settings.BATCH_SILENCE_SECONDS)
    # A finished batch (fraction 1) is on its way or spooled: only its deadline counts.
    went_silent = Q(progress_at__lt=silent, fraction__lt=1)
    lost = Q(state=Batch.State.ORDERED) & (Q(deadline__lt=now) | went_silent)
    marked = _lose(Batch.objects.filter(lost))
    marked += _mark_deserted()
    for batch in Batch.objects.filter(state=Batch.State.DELIVERED, deadline__lt=now):
        if not inbox.holds(batch.pk):
            still = Batch.objects.filter(pk=batch.pk, state=Batch.State.DELIVERED)
            marked += still.update(state=Batch.State.OVERDUE)
    return marked


def _lose(lost: QuerySet[Batch]) -> int:
    """Overdue, and a fault of the worker that had it."""
    marked = 0
    for batch_id, worker, slug in lost.values_list("pk", "worker", "pool__slug"):
        if lost.filter(pk=batch_id).update(state=Batch.State.OVERDUE):
            marked += 1
            with bound(batch=batch_id, worker=worker):
                log.warning("The batch was not delivered in time")
            tallies.count("order_failures", pool=slug, reason="not-delivered")
            duty.note_fault(worker, f"Batch {batch_id} was not delivered in time.")
    return marked


def _mark_deserted() -> int:
    """What silent workers had, and those in maintenance or refusing work, goes to others at once.

    While nobody else is there it is theirs: a broker that is away makes all of them silent.
    """
    if not roster.at_work().exists():
        return 0
    aside = roster.alive().filter(Q(duty=Duty.MAINTENANCE) | Q(activity=Worker.REFUSING))
    open_ones = Batch.objects.filter(state=Batch.State.ORDERED).exclude(worker="")
    deserted = open_ones.filter(
        ~Q(worker__in=roster.alive().values("name"))
        | Q(worker__in=aside.values("name"), progress_at=None)  # what is begun it finishes
    )
    here = [batch_id for batch_id in deserted.values_list("pk", flat=True) if inbox.holds(batch_id)]
    return deserted.exclude(pk__in=here).update(state=Batch.State.OVERDUE)


def _still_wanted(batch: Batch) -> bool:
    pool = batch.pool
    return (
        batch.release_id in (pool.release_id, pool.canary_id)
        and not pool.paused
        and (level(pool).expected < pool.high_watermark or bool(batch.params))
    )


def _reissue(batch: Batch, fleet: Fleet) -> bool:
    """To another worker if there is one; the same images, since the seeds are the same."""
    digest = batch.release.digest
    worker = fleet.choose(digest, batch.count, avoid=(batch.worker,))
    worker = worker or fleet.choose(digest, batch.count)
    if worker is None:
        return False
    work = batch.count * worker.seconds_per_image(digest)
    if work > dispatch.LONGEST_SECONDS:
        give_up(batch, "Overdue, and too large for the workers left.", trouble=False)
        return False
    ahead = fleet.seconds_in_hand(worker.name)
    fleet.burden(worker.name, digest, batch.count)
    changed = Batch.objects.filter(
        pk=batch.pk, state=Batch.State.OVERDUE, attempt=batch.attempt
    ).update(
        state=Batch.State.ORDERED,
        attempt=F("attempt") + 1,
        rung_at=timezone.now(),
        deadline=timezone.now() + patience(ahead + work, loading=digest not in worker.loaded),
        fraction=0,
        note="",
        worker=worker.name,
        progress_at=None,
    )
    if changed:
        batch.attempt += 1
        batch.worker = worker.name
        tallies.count("orders_reissued", pool=batch.pool.slug)
        orders.send_order(batch)
    return bool(changed)


def give_up(batch: Batch, reason: str, trouble: bool = True) -> bool:
    """Let an order go. Trouble holds the pool's orders up; a batch for somebody's tags never
    does, or one visitor's odd wish could stop the pool."""
    reason = clean(reason)
    changed = Batch.objects.filter(
        pk=batch.pk, state__in=(Batch.State.ORDERED, Batch.State.OVERDUE), attempt=batch.attempt
    ).update(state=Batch.State.FAILED, reason=reason, settled_at=timezone.now())
    if changed:
        with bound(batch=batch.pk, request=batch.request):
            log.warning("The order is given up: %s", reason)
    if changed and trouble and not batch.params:
        blame(batch, f"Batch {batch.pk}: {reason}")
    return bool(changed)


def refused(message: BatchFailed) -> bool:
    """A worker cannot carry out an order: remember why, and ask another if that may help."""
    open_batch = Batch.objects.select_related("pool", "release").filter(
        pk=message.batch_id,
        attempt=message.attempt,
        worker__in=("", message.worker),
        state__in=(Batch.State.ORDERED, Batch.State.OVERDUE),
    )
    batch = open_batch.first()
    if batch is None:
        return False
    reason = clean(f"{message.worker}: {message.reason}")
    if message.elsewhere and _others_may(batch, message.worker):
        changed = open_batch.update(state=Batch.State.OVERDUE, worker=message.worker, reason=reason)
        log.warning("Another worker is to draw it: %s", reason)
    else:
        open_batch.update(worker=message.worker, drawn=message.drawn)
        changed = give_up(batch, reason, trouble=message.kind != HANDED_BACK)
    if changed:
        reason = message.kind if message.kind in REASONS else "other"
        tallies.count("order_failures", pool=batch.pool.slug, reason=reason)
    if changed and message.kind not in NO_FAULT:
        duty.note_fault(message.worker, message.reason)
    return bool(changed)


def _others_may(batch: Batch, worker: str) -> bool:
    others = dispatch.able(batch.release.digest, avoid=(worker,))
    return batch.attempt < Batch.MAX_ATTEMPTS and bool(others)


def blame(batch: Batch, reason: str, forgiven: int = 0) -> None:
    """Hold up what the batch was made with: all of the pool's orders, or the canary's alone; of a
    release that the pool has left by now, nothing."""
    pool = Pool.objects.get(pk=batch.pool_id)
    if batch.release_id == pool.release_id:
        note_trouble(pool, reason, forgiven)
    elif batch.release_id == pool.canary_id:
        canary.note_failure(pool, reason)


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
