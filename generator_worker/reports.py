"""What the worker tells the server.

The server's database row is the truth and these are doorbells: a lost report delays, a report
that cannot be sent must never break or block the work it speaks of.
"""

from __future__ import annotations

import logging
import time
from typing import Any, Protocol
from uuid import UUID

from generator_worker.contract import (
    BATCH_DELIVERED,
    BATCH_FAILED,
    BATCH_PROGRESS,
    HEARTBEAT,
    INGEST_QUEUE,
    JOB_DELIVERED,
    JOB_FAILED,
    JOB_PROGRESS,
    SERVER_QUEUE,
    BatchDelivered,
    BatchFailed,
    BatchProgress,
    GenerateBatch,
    Heartbeat,
    JobDelivered,
    JobFailed,
    JobManifest,
    JobProgress,
    Manifest,
    RunJob,
    Wire,
)
from generator_worker.refusals import Refusal
from messaging import seals, traces

log = logging.getLogger(__name__)

STALE_SECONDS = 3600
"""Progress and heartbeats the server did not read within this time are worth nothing. An hour,
because it is this host's clock that says when they were sent and the server's that says whether
they are stale: with half a minute, a worker whose clock is slow would never be heard."""
QUIET_SECONDS = 15.0
"""After the broker refused a report, no progress is tried for this long."""


class Sender(Protocol):
    """The part of a Celery application that reports need."""

    def send_task(self, name: str, **options: Any) -> Any: ...


class Reports:
    def __init__(self, sender: Sender, worker: str, key: str) -> None:
        """`key` seals what is sent; see `messaging.seals`."""
        self._sender = sender
        self._worker = worker
        self._key = key
        self._quiet_until = 0.0

    def progress(self, batch_id: UUID, fraction: float, note: str = "") -> None:
        if time.monotonic() >= self._quiet_until:
            message = BatchProgress(
                batch_id=batch_id, worker=self._worker, fraction=min(fraction, 1.0), note=note[:200]
            )
            self._send(BATCH_PROGRESS, message, expires=STALE_SECONDS)

    def delivered(self, manifest: Manifest | JobManifest) -> bool:
        size: dict[str, Any] = {
            "worker": self._worker,
            "count": len(manifest.images),
            "bytes": sum(image.bytes for image in manifest.images),
        }
        if isinstance(manifest, JobManifest):
            done = JobDelivered(job_id=manifest.job_id, **size)
            return self._send(JOB_DELIVERED, done, INGEST_QUEUE)
        message = BatchDelivered(batch_id=manifest.batch_id, **size)
        return self._send(BATCH_DELIVERED, message, INGEST_QUEUE)

    def failed(self, order: GenerateBatch, refusal: Refusal, drawn: int = 0) -> bool:
        return self.refused(order.batch_id, order.attempt, refusal, drawn)

    def refused(self, batch_id: UUID, attempt: int, refusal: Refusal, drawn: int = 0) -> bool:
        log.error("Batch %s refused (%s): %s", batch_id, refusal.kind, refusal)
        message = BatchFailed(
            batch_id=batch_id,
            worker=self._worker,
            attempt=attempt,
            reason=str(refusal)[:2000],
            kind=refusal.kind,
            elsewhere=refusal.elsewhere,
            drawn=drawn,
        )
        return self._send(BATCH_FAILED, message)

    def job_progress(self, job_id: UUID, step: int, of: int, note: str = "") -> None:
        if time.monotonic() >= self._quiet_until:
            message = JobProgress(
                job_id=job_id, worker=self._worker, step=min(step, of), of=of, note=note[:200]
            )
            self._send(JOB_PROGRESS, message, expires=STALE_SECONDS)

    def job_failed(self, job: RunJob, refusal: Refusal) -> bool:
        log.error("Job %s: %s", job.job_id, refusal)
        message = JobFailed(
            job_id=job.job_id,
            worker=self._worker,
            attempt=job.attempt,
            reason=str(refusal)[:2000],
            kind=refusal.kind,
        )
        return self._send(JOB_FAILED, message)

    def heartbeat(self, beat: Heartbeat) -> bool:
        return self._send(HEARTBEAT, beat, expires=STALE_SECONDS)

    def _send(self, task: str, message: Wire, queue: str = SERVER_QUEUE, **options: Any) -> bool:
        kwargs = {"message": message.wire()}
        seal = seals.seal(self._key, self._worker, task, kwargs)
        try:
            self._sender.send_task(
                task,
                kwargs=kwargs,
                queue=queue,
                ignore_result=True,
                retry=False,
                # The server's queues are not for a worker's account to look at, or to bind.
                declare=[],
                headers={**traces.headers(), seals.HEADER: seal},
                **options,
            )
        except Exception as error:  # whatever the transport raises: kombu wraps only some of it
            self._quiet_until = time.monotonic() + QUIET_SECONDS
            log.warning("Could not report %s: %s", task, error)
            return False
        return True
