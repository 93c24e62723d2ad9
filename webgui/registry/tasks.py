"""What messages and the clock set off for checkpoints."""

from __future__ import annotations

import logging

from celery import shared_task

from . import uploads

log = logging.getLogger(__name__)


@shared_task(name="registry.tidy_uploads")
def tidy_uploads() -> None:
    if ended := uploads.tidy():
        log.info("Ended %d uploads that nobody went on with", ended)
