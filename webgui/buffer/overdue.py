"""Orders that come to nothing: found, given to another worker, refused, given up."""

from __future__ import annotations

import logging
from datetime import timedelta

from django.conf import settings
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from generator_worker.contract import BatchFailed, Duty
from messaging.logs import bound
from webgui.fleet import dispatch, duty, roster
from webgui.fleet.dispatch import Fleet
from webgui.fleet.hearsay import clean
from webgui.fleet.models import Worker
from webgui.watching import tallies

from . import inbox, orders, trouble, unheard
from .levels import level
from .models import Batch
from .progress import patience

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
            give_up(batch, "Overdue, and the pool no longer needs it.", hold_up=False)
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
        give_up(batch, "Overdue, and too large for the workers left.", hold_up=False)
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


def give_up(batch: Batch, reason: str, hold_up: bool = True) -> bool:
    """Let an order go. `hold_up` the pool's orders, for a while; a batch for somebody's tags never
    does, or one visitor's odd wish could stop the pool."""
    reason = clean(reason)
    changed = Batch.objects.filter(
        pk=batch.pk, state__in=(Batch.State.ORDERED, Batch.State.OVERDUE), attempt=batch.attempt
    ).update(state=Batch.State.FAILED, reason=reason, settled_at=timezone.now())
    if changed:
        with bound(batch=batch.pk, request=batch.request):
            log.warning("The order is given up: %s", reason)
    if changed and hold_up and not batch.params:
        trouble.blame(batch, f"Batch {batch.pk}: {reason}")
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
        changed = give_up(batch, reason, hold_up=message.kind != HANDED_BACK)
    if changed:
        reason = message.kind if message.kind in REASONS else "other"
        tallies.count("order_failures", pool=batch.pool.slug, reason=reason)
    if changed and message.kind not in NO_FAULT:
        duty.note_fault(message.worker, message.reason)
    return bool(changed)


def _others_may(batch: Batch, worker: str) -> bool:
    others = dispatch.able(batch.release.digest, avoid=(worker,))
    return batch.attempt < Batch.MAX_ATTEMPTS and bool(others)
