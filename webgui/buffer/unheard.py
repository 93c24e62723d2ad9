"""Orders whose message was lost on its way to a worker that is there.

A broker that is wiped, or a link that dies unnoticed, loses messages without a word. The deadline
would find that out; the worker itself shows it sooner. It is idle a while after an order was sent
or was last told of; or it is at one that was sent later, and its queue has no other order. Then
the bell is rung once more. That is no fault of the worker and no new attempt: heard twice, the
order is carried out once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime

from django.db.models import Q
from django.utils import timezone

from messaging.logs import bound
from webgui.fleet import roster

from . import orders
from .models import Batch

log = logging.getLogger(__name__)


def ring_again() -> int:
    """Send once more what workers should have begun by now; returns how many orders."""
    rung = 0
    for batch, why in _unheard():
        same = Batch.objects.filter(pk=batch.pk, state=Batch.State.ORDERED, rung_at=batch.rung_at)
        if same.update(rung_at=timezone.now()):
            with bound(batch=batch.pk, worker=batch.worker, request=batch.request):
                log.warning("Rung for again: the worker %s", why)
                orders.send_order(batch)
            rung += 1
    return rung


def _unheard() -> Iterator[tuple[Batch, str]]:
    # One that is drawn (fraction 1) is on its way, and nothing to be at.
    given = Batch.objects.filter(state=Batch.State.ORDERED, fraction__lt=1).exclude(worker="")
    given = given.select_related("pool", "release")
    idle = roster.idle()
    for batch in given.filter(worker__in=idle):
        sign = max(batch.rung_at, batch.progress_at or batch.rung_at)
        if idle[batch.worker] >= sign + roster.ON_ITS_WAY:
            yield batch, "is idle"
    late = timezone.now() - roster.ON_ITS_WAY
    for batch in given.exclude(worker__in=idle).filter(progress_at=None, rung_at__lt=late):
        if begun_since(batch.worker, batch.rung_at):
            yield batch, "has begun a later one"


def begun_since(worker: str, moment: datetime) -> bool:
    """Whether this worker has begun an order that is younger than the moment; one that was rung
    for again may be at the head of its queue."""
    recent = Q(state=Batch.State.ORDERED) | Q(settled_at__gt=moment)
    later = Batch.objects.filter(recent, worker=worker, ordered_at__gt=moment)
    return later.exclude(progress_at=None).exists()
