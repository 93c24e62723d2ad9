"""What workers tell about themselves."""

from __future__ import annotations

import logging
from typing import Any

from celery import shared_task

from generator_worker.contract import HEARTBEAT, ContractError, Duty, Heartbeat

from . import alarms, duty, notices, roster, samples
from .models import Worker

log = logging.getLogger(__name__)


@shared_task(name=HEARTBEAT)
def heartbeat(message: Any) -> None:
    try:
        beat = Heartbeat.read(message)
    except ContractError as error:
        log.error("Unreadable heartbeat: %s", error)
        return
    if roster.record(beat):
        log.info("Worker %s is here (%s)", beat.worker, beat.device)
    wanted = Worker.objects.values_list("duty", flat=True).get(name=beat.worker)
    if wanted != beat.duty:
        duty.tell(beat.worker, Duty(wanted))


@shared_task(name="fleet.watch")
def watch() -> None:
    if samples.take() is not None:
        alarms.check()


@shared_task(name="fleet.notify")
def notify() -> None:
    notices.send_due()
