"""Carrying out one job: what somebody waits for. Its results go the way of batches.

Every outcome is final for the broker, as with batches: the results are in the outbox, or the
server was told why not, or nobody wants them any more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from celery.exceptions import SoftTimeLimitExceeded
from pydantic import BaseModel

from generator_worker import previews
from generator_worker.batches import Workshop, demand_readiness
from generator_worker.cancelling import Cancellations, Cancelled
from generator_worker.config import software
from generator_worker.contract import JobManifest, RunJob
from generator_worker.journal import MAX_STARTS
from generator_worker.refusals import DeadlyOrder, Refusal, TooLong, Unforeseen, UnknownJob
from generator_worker.signs import Signs

if TYPE_CHECKING:
    from generator_worker.outbox import Spool

STEPS = 1000
"""Progress is told in so many steps."""
log = logging.getLogger(__name__)

KINDS: dict[str, Callable[[Workshop, RunJob, Spool, Signs], BaseModel]] = {
    "preview": previews.make,
}
"""Each fills the spool, and returns its report."""


def carry_out(workshop: Workshop, cancellations: Cancellations, job: RunJob) -> BaseModel | None:
    """Do the job, spool what it brought, return its report; None if that could not or need not be
    done."""
    if workshop.outbox.is_settled(job.job_id) or workshop.outbox.holds(job.job_id):
        log.info("Job %s is done already", job.job_id)
        return None
    report = None
    starts = workshop.journal.begin(job.job_id)
    log.info("Begun: a %s, attempt %d", job.kind, job.attempt)
    try:
        _admit(workshop, job, starts)
        report = _do(workshop, cancellations, job)
        workshop.faulty.worked(job.release_digest)
    except Cancelled:
        log.info("Job %s is called off", job.job_id)
    except Refusal as refusal:
        _refuse(workshop, job, refusal)
    except SoftTimeLimitExceeded:
        _refuse(workshop, job, TooLong("It took longer than a task may."))
    except Exception as error:
        log.exception("Job %s failed", job.job_id)
        _refuse(workshop, job, Unforeseen(f"{type(error).__name__}: {error}"))
    finally:
        cancellations.over()
    workshop.journal.end(job.job_id)
    return report


def _admit(workshop: Workshop, job: RunJob, starts: int) -> None:
    """A release that is faulty here is no reason to refuse: a preview may show that it is well
    again."""
    if job.kind not in KINDS:
        raise UnknownJob(f"This worker knows no jobs of kind {job.kind!r}: upgrade it.")
    demand_readiness(workshop)
    if starts > MAX_STARTS:
        raise DeadlyOrder(
            f"Worker {workshop.config.worker_name} died {MAX_STARTS} times at this job; its log "
            "says how."
        )


def _do(workshop: Workshop, cancellations: Cancellations, job: RunJob) -> BaseModel:
    def tell(fraction: float, note: str) -> None:
        # The last step is told only when all is spooled: then the server waits for a delivery.
        step = min(int(STEPS * fraction), STEPS - 1)
        workshop.reports.job_progress(job.job_id, step, STEPS, note)

    signs = Signs(tell, wanted=lambda: cancellations.check(job.job_id))
    signs(0.0, "begun")
    with workshop.outbox.spool(job.job_id) as spool:
        report = KINDS[job.kind](workshop, job, spool, signs)
        spool.publish(_manifest(workshop, job, spool, report))
    workshop.reports.job_progress(job.job_id, STEPS, STEPS, "on its way")
    workshop.ledger.did(job.kind)
    log.info("Job %s (%s): %d images", job.job_id, job.kind, len(spool.images))
    return report


def _manifest(workshop: Workshop, job: RunJob, spool: Spool, report: BaseModel) -> JobManifest:
    return JobManifest(
        job_id=job.job_id,
        kind=job.kind,
        release_digest=job.release_digest,
        worker=workshop.config.worker_name,
        software=software(),
        created=datetime.now(UTC),
        params=job.params,
        images=tuple(spool.images),
        report=report.model_dump(mode="json"),
    )


def _refuse(workshop: Workshop, job: RunJob, refusal: Refusal) -> None:
    workshop.ledger.failed(refusal.kind)
    if refusal.blames_release:
        workshop.faulty.failed(job.release_digest, str(refusal))
    workshop.reports.job_failed(job, refusal)
