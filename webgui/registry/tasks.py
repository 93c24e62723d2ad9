"""What messages and the clock set off for checkpoints."""

from __future__ import annotations

import logging
from typing import Any
from uuid import UUID

from celery import shared_task

from . import doorbell, inspection, uploads

log = logging.getLogger(__name__)


@shared_task(name=doorbell.INSPECT)
def inspect(message: Any) -> None:
    try:
        checkpoint_id = UUID(message["checkpoint_id"])
    except (KeyError, TypeError, ValueError, AttributeError):
        log.error("Unreadable message: %r", message)
        return
    inspection.inspect(checkpoint_id)


@shared_task(name="registry.look_for_waiting")
def look_for_waiting() -> None:
    inspection.ring_waiting()


@shared_task(name="registry.tidy_uploads")
def tidy_uploads() -> None:
    if ended := uploads.tidy():
        log.info("Ended %d uploads that nobody went on with", ended)
    inspection.clear_scratch()
