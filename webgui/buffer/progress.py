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
from webgui.fleet.dispatch import FIRST_COUNT
from webgui.fleet.hearsay import clean
from webgui.registry.models import Release

from . import tickets
from .models import Batch, Ticket
from .yields import in_vain, share_kept

DELIVERY_SECONDS = 3.0  # from the last image made to the first one served


@dataclass(frozen=True)
class Outlook:
    """How things stand for one ticket. All None once it waits no more.

    Without an `eta_seconds` the note of one who waits says why.
    """

    position: int | None = None  # 1: next in line
    eta_seconds: int | None = None
    progress: float | None = None  # of the batch being made, 0 to 1
    note: str = ""


def record(message: BatchProgress) -> bool:
    """A sign of life: note how far the batch is and push its deadline away.

    Only from the worker that has the order. Where it was about to be given to another, whoever
    is at it has it.
    """
    theirs = Q(state=Batch.State.OVERDUE) | Q(
        state=Batch.State.ORDERED, worker__in=("", message.worker)
    )
    open_batch = Batch.objects.filter(theirs, pk=message.batch_id)
    batch = open_batch.select_related("release").first()
    if batch is None:
        return False
    now = timezone.now()
    left = batch.count * (1 - message.fraction)
    deadline = now + patience(left * roster.pace(message.worker, batch.release.digest))
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


def patience(expected: float, loading: bool = False) -> timedelta:
    """How long work that is expected to take so many seconds may take before it counts as lost:
    honest slowness is not loss. `loading`: the worker has to load the release first."""
    seconds = settings.BATCH_GRACE_SECONDS + 3 * expected
    return timedelta(seconds=seconds + (settings.BATCH_LOADING_SECONDS if loading else 0))


def outlook(ticket: Ticket) -> Outlook:
    if ticket.state != Ticket.State.WAITING:
        return Outlook()
    ahead = tickets.waiting(ticket.pool).filter(
        Q(created_at__lt=ticket.created_at) | Q(created_at=ticket.created_at, id__lt=ticket.id)
    )
    position = ahead.count() + 1
    ordered = Batch.objects.filter(pool=ticket.pool, state=Batch.State.ORDERED)
    batches = list(ordered.order_by("-fraction", "ordered_at"))
    now_made = next((batch for batch in batches if _fits(batch, ticket)), None)
    eta, in_the_way = _eta(ticket, position, batches)
    return Outlook(
        position=position,
        eta_seconds=eta,
        progress=round(now_made.fraction, 3) if now_made else 0.0,
        note=in_the_way or (now_made.note if now_made else "") or _busy_with(batches),
    )


def _fits(batch: Batch, ticket: Ticket) -> bool:
    """Whether the batch is sure to bring what the ticket waits for, and not by chance alone."""
    return set(ticket.tags) <= set(batch.tags)


def _busy_with(batches: list[Batch]) -> str:
    """What holds up a batch that is not begun."""
    busy = any(0 < batch.fraction < 1 for batch in batches)
    return "A worker finishes another batch first." if busy else ""


def _eta(ticket: Ticket, position: int, batches: list[Batch]) -> tuple[int | None, str]:
    """Until the batches under way, the furthest first, have brought `position` images that fit;
    or None and why nobody can tell."""
    workers = roster.at_work().count()
    if not workers:
        return None, "No worker is there right now. It goes on as soon as one is back."
    share = share_kept(ticket.pool.release_id)
    pace = roster.seconds_per_image() * share / workers  # of a draw: workers tell images kept
    seconds, brought = 0.0, 0.0
    for batch in batches:
        seconds += batch.count * (1 - batch.fraction) * pace
        brought += batch.count * share if _fits(batch, ticket) else 0
        if brought >= position:
            break
    else:
        if why := _why_no_more(ticket):
            return None, why
        size = min(FIRST_COUNT, ticket.pool.batch_size)
        seconds += math.ceil((position - brought) / (size * share)) * size * pace
    return math.ceil(seconds + DELIVERY_SECONDS), ""


def _why_no_more(ticket: Ticket) -> str:
    """Why no batch is ordered for this ticket; empty where nothing is in the way."""
    pool = ticket.pool
    if pool.paused:
        return "The making of new ones is paused for now."
    if pool.release.state == Release.State.RETIRED:
        return "Nobody makes new ones of this style any more."
    if pool.pause > 0:
        return "The last attempt to make more failed. It will be tried again soon."
    if ticket.tags and in_vain(pool, ticket.tags, ticket.created_at):
        return "None with these traits would come out well. Other traits may."
    return ""
