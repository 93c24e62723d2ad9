"""What is wanted of a worker: to work, to drain, to stand aside; and when the server decides that
itself.

    set_duty(worker, Duty.DRAINING, audit.actor_of(request), "new driver")
    note_fault("w1", "Batch … was not delivered in time.")
    note_success("w1")

The row is the truth; the worker is told, and told again for as long as its heartbeats say
something else.
"""

from __future__ import annotations

import logging

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from generator_worker.contract import (
    FORGIVE_RELEASE,
    SET_DUTY,
    Duty,
    ForgiveRelease,
    SetDuty,
    live_queue,
)
from webgui.accounts import audit

from . import doorbell
from .hearsay import clean
from .models import Worker
from .problems import NotFaulty

SERVER = "the server"
log = logging.getLogger(__name__)


def set_duty(worker: Worker, duty: Duty, actor: audit.Actor, reason: str = "") -> bool:
    """False where it was its duty already. Back to work, its faults are forgotten."""
    with transaction.atomic():
        others = Worker.objects.filter(pk=worker.pk).exclude(duty=duty)
        reason = clean(reason, 500)
        changes = {"faults": 0} if duty == Duty.WORKING else {}
        if not others.update(duty=duty, duty_reason=reason, **changes):
            return False
        audit.record(actor, f"worker.{duty.value}", worker, reason=reason)
    tell(worker.name, duty)
    return True


def forgive(worker: Worker, digest: str, actor: audit.Actor) -> None:
    """Let it try again a release that was faulty on it. Its next heartbeat says so itself."""
    if not worker.is_faulty(digest):
        raise NotFaulty(f"Worker {worker.name} does not call release {digest[:12]}… faulty.")
    audit.record(actor, "worker.forgave_release", worker, release=digest)
    message = ForgiveRelease(release_digest=digest)
    doorbell.ring(FORGIVE_RELEASE, message, live_queue(worker.name))


def tell(name: str, duty: Duty) -> None:
    doorbell.ring(SET_DUTY, SetDuty(duty=duty), live_queue(name))


def note_fault(name: str, reason: str) -> None:
    """An order this worker should have carried out and did not. Too many of them with no delivery
    between, and the server takes it off duty, for a person to look at."""
    mine = Worker.objects.filter(name=name)
    mine.update(faults=F("faults") + 1, last_fault=clean(reason, 500), last_fault_at=timezone.now())
    tired = mine.filter(duty=Duty.WORKING, faults__gte=settings.WORKER_FAULTS).first()
    if tired is not None:
        why = f"{tired.faults} faults in a row. The last: {tired.last_fault}"
        if set_duty(tired, Duty.MAINTENANCE, SERVER, why):
            log.error("Worker %s is in maintenance: %s", name, why)


def note_success(name: str) -> None:
    Worker.objects.filter(name=name, faults__gt=0).update(faults=0)
