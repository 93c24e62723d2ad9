"""What messages and the clock set off. Each is one call; a bad message is logged and dropped."""

from __future__ import annotations

import logging
from typing import Any

from celery import shared_task

from generator_worker.contract import (
    BATCH_DELIVERED,
    BATCH_FAILED,
    BATCH_PROGRESS,
    BatchDelivered,
    BatchFailed,
    BatchProgress,
    ContractError,
)

from . import claim, ingest, overdue, progress, replenish, retention, stock, tickets

log = logging.getLogger(__name__)


@shared_task(name=BATCH_DELIVERED)
def batch_delivered(message: Any) -> None:
    try:
        delivered = BatchDelivered.read(message)
    except ContractError as error:
        log.error("Unreadable message: %s", error)
        return
    ingest.ingest(delivered.batch_id, delivered.worker)


@shared_task(name=BATCH_PROGRESS)
def batch_progress(message: Any) -> None:
    try:
        progress.record(BatchProgress.read(message))
    except ContractError as error:
        log.error("Unreadable message: %s", error)


@shared_task(name=BATCH_FAILED)
def batch_failed(message: Any) -> None:
    try:
        overdue.refused(BatchFailed.read(message))
    except ContractError as error:
        log.error("Unreadable message: %s", error)


@shared_task(name="buffer.replenish")
def replenish_pools() -> None:
    replenish.replenish()


@shared_task(name="buffer.reconcile")
def reconcile() -> None:
    overdue.reconcile()


@shared_task(name="buffer.sweep_inbox")
def sweep_inbox() -> None:
    ingest.sweep()


@shared_task(name="buffer.expire_tickets")
def expire_tickets() -> None:
    tickets.expire_overdue()
    tickets.serve_everywhere()


@shared_task(name="buffer.forget")
def forget() -> None:
    claim.forget_old_keys()
    tickets.forget_old()
    stock.forget_empty_lanes()


@shared_task(name="buffer.prune")
def prune() -> None:
    log.info("%s", retention.prune())
