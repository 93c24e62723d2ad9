"""Sending what the database already says: the messages to workers.

A message that does not get through is no loss, only a delay: the row stays, and the reconciler
rings again. So no caller waits for the broker, nor fails with it.
"""

from __future__ import annotations

import logging
from uuid import UUID

from generator_worker.contract import (
    BATCH_RECEIVED,
    GENERATE_BATCH,
    GENERATE_QUEUE,
    BatchReceipt,
    GenerateBatch,
    Wire,
    worker_queue,
)

from .models import Batch

log = logging.getLogger(__name__)


def send_order(batch: Batch) -> bool:
    message = GenerateBatch(
        batch_id=batch.pk,
        attempt=batch.attempt,
        pool=batch.pool.slug,
        release_digest=batch.release.digest,
        count=batch.count,
        base_seed=batch.base_seed,
        params=batch.params,
    )
    return _send(GENERATE_BATCH, message, GENERATE_QUEUE)


def send_receipt(batch_id: UUID, worker: str) -> bool:
    return _send(BATCH_RECEIVED, BatchReceipt(batch_id=batch_id), worker_queue(worker))


def _send(task: str, message: Wire, queue: str) -> bool:
    from webgui.config.celery import app

    try:
        app.send_task(task, kwargs={"message": message.wire()}, queue=queue, retry=False)
    except Exception as error:  # whatever the transport raises: kombu wraps only some of it
        log.warning("%s to %s not sent: %s", task, queue, error)
        return False
    return True
