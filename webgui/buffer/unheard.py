"""Orders whose message was lost on its way: their worker is there, and at nothing.

A broker that is wiped, or a link that dies unnoticed, loses messages without a word. The deadline
would find that out; a heartbeat does so sooner. Whoever says that it is idle, a while after an
order was sent or was last told of, does not have it, and the bell is rung once more. That is no
fault of the worker and no new attempt: heard twice, the order is carried out once.
"""

from __future__ import annotations

import logging

from django.utils import timezone

from webgui.fleet import roster

from . import orders
from .models import Batch

log = logging.getLogger(__name__)


def ring_again() -> int:
    """Send once more what idle workers should have begun by now; returns how many orders."""
    idle = roster.idle()
    # One that is drawn (fraction 1) is on its way, and nothing to be at.
    waiting = Batch.objects.filter(state=Batch.State.ORDERED, fraction__lt=1, worker__in=idle)
    rung = 0
    for batch in waiting.select_related("pool", "release"):
        sign = max(batch.rung_at, batch.progress_at or batch.rung_at)
        if idle[batch.worker] < sign + roster.ON_ITS_WAY:
            continue  # it may have said so before the message came
        if waiting.filter(pk=batch.pk, rung_at=batch.rung_at).update(rung_at=timezone.now()):
            log.warning("Batch %s: %s is idle and does not have it", batch.pk, batch.worker)
            orders.send_order(batch)
            rung += 1
    return rung
