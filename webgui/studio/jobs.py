"""A job's life: given to a worker, watched, given to another, called off, forgotten.

Every change is one conditional update whose row count is checked, so that two clocks, two
messages and an administrator may all act at once.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from generator_worker.contract import JobFailed, JobProgress
from messaging.logs import bound
from webgui.buffer import unheard
from webgui.fleet import roster
from webgui.fleet.dispatch import worker_for_job
from webgui.fleet.hearsay import clean
from webgui.watching import tallies

from . import verdicts, wire
from .models import Job

State = Job.State
NO_WORKER_SECONDS = 3600
"""A job that no worker could take for so long is given up."""
LARGEST = 2**31 - 1
log = logging.getLogger(__name__)


def about(job: Job) -> AbstractContextManager[None]:
    """What is logged and sent meanwhile is found by the job's id, and by that of the request that
    asked for it."""
    return bound(job=job.pk, request=job.request, worker=job.worker)


def place(job: Job) -> bool:
    """Give a job that waits to the worker who is best for it now, if there is one."""
    name = _choose(job)
    if not name:
        return False
    waiting = Job.objects.filter(pk=job.pk, state=State.QUEUED, worker="", attempt=job.attempt)
    placed = waiting.update(
        worker=name,
        attempt=F("attempt") + 1,
        tried=[*job.tried, name],
        deadline=timezone.now() + timedelta(seconds=settings.JOB_START_SECONDS),
        note="",
    )
    if placed:
        job.refresh_from_db()
        with about(job):
            log.info("The %s goes to %s, attempt %d", job.kind, name, job.attempt)
            wire.send_job(job)
    return bool(placed)


def _choose(job: Job) -> str:
    """Rather one that has not had it; where all have, one of those. Where the release is faulty
    on every worker, any: a preview may show that it is well again."""
    having = Counter(
        Job.objects.filter(state__in=Job.OPEN).exclude(worker="").values_list("worker", flat=True)
    )
    digest = job.release.digest
    found = worker_for_job(digest, having, avoid=job.tried) or worker_for_job(digest, having)
    at_work = roster.at_work().values_list("name", flat=True)
    return found or min(at_work, key=job.tried.count, default="")


def record(message: JobProgress) -> bool:
    """A sign of life from the worker that has the job."""
    now = timezone.now()
    # A finished one is on its way here, and says nothing any more.
    finished = message.step >= message.of
    patience = settings.BATCH_GRACE_SECONDS if finished else settings.JOB_SILENCE_SECONDS
    mine = Job.objects.filter(pk=message.job_id, worker=message.worker, state__in=Job.OPEN)
    return bool(
        mine.update(
            state=State.RUNNING,
            started_at=Coalesce("started_at", Value(now)),
            step=min(message.step, LARGEST),
            of=min(message.of, LARGEST),
            note=clean(message.note, 200),
            progress_at=now,
            deadline=now + timedelta(seconds=patience),
        )
    )


def refused(message: JobFailed) -> bool:
    """The worker could not: another attempt, or none any more."""
    mine = Job.objects.filter(
        pk=message.job_id, worker=message.worker, attempt=message.attempt, state__in=Job.OPEN
    )
    job = mine.first()
    return job is not None and _next_attempt(job, f"{message.worker}: {message.reason}")


def reconcile() -> int:
    """Find jobs that were lost and jobs that wait, and place them; returns how many were."""
    for job in _lost():
        _next_attempt(job, _how_lost(job))
    waiting = Job.objects.filter(state=State.QUEUED, worker="").select_related("release")
    too_long = timezone.now() - timedelta(seconds=NO_WORKER_SECONDS)
    placed = 0
    for job in waiting.order_by("created_at"):
        if place(job):
            placed += 1
        elif job.created_at < too_long:
            fail(job, job.reason or "No worker was there for it in an hour.")
    return placed


def _lost() -> QuerySet[Job]:
    """Past their deadline, with a worker who fell silent altogether, or not heard of by theirs."""
    alive = roster.alive().values_list("name", flat=True)
    given = Job.objects.filter(state__in=Job.OPEN).exclude(worker="")
    late = Q(deadline__lt=timezone.now())
    return given.filter(late | ~Q(worker__in=list(alive)) | Q(pk__in=list(_unheard())))


def _unheard() -> Iterator[UUID]:
    """Of workers who do something else though jobs come first, or nothing, a while after the
    message was sent or the last sign of life came: it was lost, or the process at it died."""
    idle, now = roster.idle(), timezone.now()
    given = Job.objects.filter(state__in=Job.OPEN, step__lt=F("of"), deadline__isnull=False)
    for job in given.exclude(worker=""):
        due = _last_sign(job) + roster.ON_ITS_WAY
        if job.worker in idle:
            lost = idle[job.worker] >= due
        else:
            queued = job.state == State.QUEUED and now >= due
            lost = queued and unheard.begun_since(job.worker, due - roster.ON_ITS_WAY)
        if lost:
            yield job.pk


def _last_sign(job: Job) -> datetime:
    """When it was heard of, or sent where it never was."""
    if job.state == State.RUNNING and job.progress_at:
        return job.progress_at
    assert job.deadline is not None  # noqa: S101 (whoever has a worker has one)
    return job.deadline - timedelta(seconds=settings.JOB_START_SECONDS)


def _how_lost(job: Job) -> str:
    if not roster.alive().filter(name=job.worker).exists():
        return f"{job.worker} fell silent."
    if job.step < job.of and job.deadline and job.deadline > timezone.now():
        return f"{job.worker} went on without it."
    if job.state == State.QUEUED:
        return f"{job.worker} did not begin it in {settings.JOB_START_SECONDS} s."
    if job.step >= job.of:
        return f"{job.worker} finished it, and what it made did not arrive."
    return f"{job.worker} gave no sign of it for {settings.JOB_SILENCE_SECONDS} s."


def _next_attempt(job: Job, reason: str) -> bool:
    """Back to those that wait for a worker; `reconcile` places it."""
    if job.attempt >= Job.MAX_ATTEMPTS:
        return fail(job, reason)
    reason = clean(reason)
    freed = _as_it_was(job).update(
        state=State.QUEUED, worker="", reason=reason, step=0, note="", deadline=None
    )
    if freed:
        with about(job):
            log.warning("Attempt %d came to nothing: %s", job.attempt, reason)
    return bool(freed)


def fail(job: Job, reason: str) -> bool:
    reason = clean(reason)
    with transaction.atomic():
        failed = _as_it_was(job).update(
            state=State.FAILED, reason=reason, settled_at=timezone.now(), deadline=None
        )
        if failed:
            job.refresh_from_db()
            verdicts.note_failure(job)
            tallies.count("jobs", kind=job.kind, outcome=State.FAILED.value)
    if failed:
        with about(job):
            log.error("The %s failed after %d attempts: %s", job.kind, job.attempt, reason)
    return bool(failed)


def _as_it_was(job: Job) -> QuerySet[Job]:
    """The row, unless something was heard or done meanwhile: a sign of life moves the deadline."""
    return Job.objects.filter(
        pk=job.pk,
        state__in=Job.OPEN,
        worker=job.worker,
        attempt=job.attempt,
        deadline=job.deadline,
    )


def cancel(job: Job) -> bool:
    """Nobody wants it any more. The worker stops at its next step; what comes later is thrown
    away."""
    cancelled = Job.objects.filter(pk=job.pk, state__in=Job.OPEN).update(
        state=State.CANCELLED, settled_at=timezone.now(), deadline=None
    )
    job.refresh_from_db()
    if cancelled:
        tallies.count("jobs", kind=job.kind, outcome=State.CANCELLED.value)
        with about(job):
            log.info("The %s is called off", job.kind)
            if job.worker:
                wire.call_off(job.pk, job.worker)
    return bool(cancelled)
