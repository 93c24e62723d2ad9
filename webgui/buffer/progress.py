"""What a worker tells while it works, and what those in line are told."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from generator_worker.contract import BatchProgress
from webgui.fleet import roster
from webgui.fleet.hearsay import clean

from . import tickets
from .models import Batch, Ticket

DELIVERY_SECONDS = 3.0  # from the last image made to the first one served


@dataclass(frozen=True)
class Outlook:
    """How things stand for one ticket. All None once it waits no more."""

    position: int | None = None  # 1: next in line
    eta_seconds: int | None = None
    progress: float | None = None  # of the batch being made, 0 to 1
    note: str = ""


def record(message: BatchProgress) -> bool:
    """A sign of life: note how far the batch is and push its deadline away."""
    open_batch = Batch.objects.filter(
        pk=message.batch_id, state__in=(Batch.State.ORDERED, Batch.State.OVERDUE)
    )
    batch = open_batch.first()
    if batch is None:
        return False
    now = timezone.now()
    left = batch.count * (1 - message.fraction)
    deadline = now + patience(math.ceil(left))
    return bool(
        open_batch.update(
            state=Batch.State.ORDERED,
            worker=message.worker,
            fraction=message.fraction,
            note=clean(message.note, 200),
            progress_at=now,
            deadline=max(deadline, batch.deadline),
        )
    )


def patience(images: int, batches_ahead: int = 0, loading: str = "") -> timedelta:
    """How long an order may take before it counts as lost: honest slowness is not loss.

    `loading` is the digest of the release it needs: loading one takes a while.
    """
    expected = roster.seconds_per_image() * images * (1 + batches_ahead)
    seconds = settings.BATCH_GRACE_SECONDS + 3 * expected
    if loading and not roster.has_loaded(loading):
        seconds += settings.BATCH_LOADING_SECONDS
    return timedelta(seconds=seconds)


def outlook(ticket: Ticket) -> Outlook:
    if ticket.state != Ticket.State.WAITING:
        return Outlook()
    ahead = tickets.waiting(ticket.pool).filter(
        Q(created_at__lt=ticket.created_at) | Q(created_at=ticket.created_at, id__lt=ticket.id)
    )
    position = ahead.count() + 1
    batches = list(
        Batch.objects.filter(pool=ticket.pool, state=Batch.State.ORDERED).order_by("-fraction")
    )
    now_made = batches[0] if batches else None
    return Outlook(
        position=position,
        eta_seconds=_eta(ticket, position, batches),
        progress=round(now_made.fraction, 3) if now_made else 0.0,
        note=now_made.note if now_made else "",
    )


def _eta(ticket: Ticket, position: int, batches: list[Batch]) -> int:
    """Until the batches under way, the furthest first, have brought `position` images."""
    pace = roster.seconds_per_image() / max(1, roster.alive().count())
    seconds, brought = 0.0, 0
    for batch in batches:
        seconds += batch.count * (1 - batch.fraction) * pace
        brought += batch.count
        if brought >= position:
            break
    if brought < position:
        size = ticket.pool.batch_size
        seconds += math.ceil((position - brought) / size) * size * pace
    return math.ceil(seconds + DELIVERY_SECONDS)
