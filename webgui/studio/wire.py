"""What is said to workers about jobs. The row is the truth: whatever is lost here, the
reconciler makes good, so no caller waits for the broker nor fails with it."""

from __future__ import annotations

from uuid import UUID

from generator_worker.contract import (
    CANCEL_JOB,
    JOB_RECEIVED,
    RUN_JOB,
    CancelJob,
    JobReceipt,
    RunJob,
    cancel_queue,
    live_queue,
    worker_queue,
)
from webgui.fleet.doorbell import ring

from .models import Job


def send_job(job: Job) -> bool:
    message = RunJob(
        job_id=job.pk,
        attempt=job.attempt,
        kind=job.kind,
        release_digest=job.release.digest,
        params=job.params,
    )
    return ring(RUN_JOB, message, live_queue(job.worker))


def call_off(job_id: UUID, worker: str) -> bool:
    return ring(CANCEL_JOB, CancelJob(job_id=job_id), cancel_queue(worker))


def send_receipt(job_id: UUID, worker: str) -> bool:
    return ring(JOB_RECEIVED, JobReceipt(job_id=job_id), worker_queue(worker))
