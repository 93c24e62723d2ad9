"""What messages and the clock set off for jobs. A bad message is logged and dropped."""

from __future__ import annotations

import logging
from typing import Any

from celery import shared_task

from generator_worker.contract import (
    JOB_DELIVERED,
    JOB_FAILED,
    JOB_PROGRESS,
    ContractError,
    JobDelivered,
    JobFailed,
    JobProgress,
)

from . import deliveries, jobs, previews

log = logging.getLogger(__name__)


@shared_task(name=JOB_PROGRESS)
def job_progress(message: Any) -> None:
    try:
        jobs.record(JobProgress.read(message))
    except ContractError as error:
        log.error("Unreadable message: %s", error)


@shared_task(name=JOB_FAILED)
def job_failed(message: Any) -> None:
    try:
        jobs.refused(JobFailed.read(message))
    except ContractError as error:
        log.error("Unreadable message: %s", error)


@shared_task(name=JOB_DELIVERED)
def job_delivered(message: Any) -> None:
    try:
        delivered = JobDelivered.read(message)
    except ContractError as error:
        log.error("Unreadable message: %s", error)
        return
    deliveries.take_in(delivered.job_id, delivered.worker)


@shared_task(name="studio.reconcile")
def reconcile() -> None:
    jobs.reconcile()


@shared_task(name="studio.sweep_inbox")
def sweep_inbox() -> None:
    deliveries.sweep()


@shared_task(name="studio.forget")
def forget() -> None:
    if gone := previews.forget_old():
        log.info("Let go of %d rows of jobs long over", gone)
