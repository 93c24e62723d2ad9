"""Taking in what a job brought: as a batch is taken in, whole and once (see `buffer.ingest`).

inbox/new/job-<id>/ ─> checked, re-encoded, staged ─> media/previews ─> one transaction
         │                                                                   └─> removed ─> receipt
         └─> quarantine, with a reason ─> receipt
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.utils import timezone
from pydantic import ValidationError

from generator_worker.contract import (
    JOB_FOLDER,
    JobManifest,
    PreviewParams,
    PreviewReport,
    job_folder,
)
from messaging.logs import bound
from webgui.buffer import inbox
from webgui.buffer.ingest import Outcome
from webgui.buffer.pictures import Picture, Staging, reencode
from webgui.fleet.hearsay import clean
from webgui.watching import tallies

from . import jobs, verdicts, wire
from .models import Job, Preview

LARGEST_PICTURE = 2048  # a release of a size that is not wanted is shown all the same
JOBS_PER_SWEEP = 20
State = Job.State
log = logging.getLogger(__name__)


def take_in(job_id: UUID, worker: str = "") -> Outcome:
    """Take in what this job brought. `worker` is who is said to have sent it.

    OSError and database errors pass through: nothing is half-done then, and the sweep tries again.
    """
    request = Job.objects.filter(pk=job_id).values_list("request", flat=True).first()
    with bound(job=job_id, worker=worker, request=request):
        outcome = _take_in(job_id, worker)
        log.info("The delivery is %s", outcome)
    return outcome


def _take_in(job_id: UUID, worker: str) -> Outcome:
    try:
        with inbox.open_delivery(job_folder(job_id)) as delivery:
            return _settle(delivery, job_id, worker)
    except inbox.Busy:
        return Outcome.BUSY
    except inbox.Refused as refusal:  # no folder at all
        return _quarantine(job_id, worker, str(refusal))
    except inbox.Vanished:
        settled = Job.objects.filter(pk=job_id, state__in=(State.DONE, State.CANCELLED)).first()
        if settled is None:
            return Outcome.ABSENT
        _answer(job_id, worker or settled.worker)  # its first receipt was lost
        return Outcome.KNOWN


def sweep() -> int:
    """Take in what lies in the inbox, message or not, the oldest first and not too many."""
    names = [name for name in inbox.waiting_names() if name.startswith(JOB_FOLDER)]
    taken = 0
    for name in names:
        try:
            taken += _sweep_one(name) != Outcome.BUSY
        except Exception:
            log.exception("Delivery %s could not be taken in; the next sweep tries again", name)
        if taken >= JOBS_PER_SWEEP:
            break
    return taken


def _sweep_one(name: str) -> Outcome:
    try:
        job_id = UUID(name.removeprefix(JOB_FOLDER))
    except ValueError:
        job_id = None
    if job_id is not None and job_folder(job_id) == name:
        return take_in(job_id)
    inbox.quarantine(name, "Not a job: its name holds no job's id.")
    log.warning("Quarantined %r: its name holds no job's id", name)
    return Outcome.QUARANTINED


def _settle(delivery: inbox.Delivery, job_id: UUID, worker: str) -> Outcome:
    job = Job.objects.select_related("release").filter(pk=job_id).first()
    if job is not None and job.state in (State.DONE, State.CANCELLED):
        inbox.remove(delivery.name)
        _answer(job_id, worker or job.worker)
        return Outcome.KNOWN
    try:
        manifest = delivery.read_manifest(JobManifest)
        worker = manifest.worker
        job, report = _check(job, manifest)
        delivery.check_names(manifest)
        with Staging(delivery.name, Preview.SHELF) as staging:
            pictures = [
                staging.add(listed, *reencode(delivery.read_image(listed), listed, LARGEST_PICTURE))
                for listed in manifest.images
            ]
            staging.publish(pictures)
            _commit(job, worker, pictures, report)
    except inbox.Refused as refusal:
        return _quarantine(job_id, worker, str(refusal))
    inbox.remove(delivery.name)
    _answer(job_id, worker)
    return Outcome.INGESTED


def _check(job: Job | None, manifest: JobManifest) -> tuple[Job, PreviewReport]:
    """It is what was asked for, as far as a manifest can tell."""
    if job is None:
        raise inbox.Refused(f"Job {manifest.job_id} was never asked for here.")
    if (manifest.kind, manifest.release_digest) != (job.kind, job.release.digest):
        raise inbox.Refused(
            f"It is a {manifest.kind} of release {manifest.release_digest[:12]}…; asked for was "
            f"a {job.kind} of {job.release.digest[:12]}…."
        )
    asked = PreviewParams.model_validate(job.params)
    seeds = [image.seed for image in manifest.images]
    if len(set(seeds)) < len(seeds) or not set(seeds) <= set(asked.seeds):
        raise inbox.Refused("Its images are not of the seeds that were asked for, each once.")
    unknown = {tag for image in manifest.images for tag in image.tags} - set(job.release.tags)
    if unknown:
        raise inbox.Refused(f"Tags the release does not have: {', '.join(sorted(unknown)[:3])}.")
    try:
        return job, PreviewReport.model_validate(manifest.report)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise inbox.Refused(f"Its report cannot be read: {where}: {fault['msg']}.") from error


def _commit(job: Job, worker: str, pictures: Sequence[Picture], report: PreviewReport) -> None:
    wanted = Job.objects.filter(pk=job.pk, state__in=(*Job.OPEN, State.FAILED))
    with transaction.atomic():
        done = wanted.update(
            state=State.DONE,
            worker=worker,
            step=F("of"),
            note="",
            reason="",
            deadline=None,
            settled_at=timezone.now(),
            result={"images": len(pictures), "bytes": sum(one.bytes for one in pictures)},
        )
        if done:  # else it was called off, or another process was quicker
            verdicts.judge(job, pictures, report)
            seconds = (timezone.now() - job.created_at).total_seconds()
            tallies.add(
                ("jobs", {"kind": job.kind, "outcome": State.DONE.value}, 1),
                *tallies.seen("job_seconds", [seconds], kind=job.kind),
            )


def _quarantine(job_id: UUID, worker: str, reason: str) -> Outcome:
    """Out of the inbox whole. The job has failed, unless another worker has it by now."""
    reason = clean(reason)
    log.warning("Job %s from %s quarantined: %s", job_id, worker or "?", reason)
    job = Job.objects.filter(pk=job_id, state__in=Job.OPEN).first()
    if job is not None and worker in ("", job.worker):
        worker = job.worker
        jobs.fail(job, f"What {worker or 'the worker'} brought was put in quarantine: {reason}")
    inbox.quarantine(job_folder(job_id), reason)
    _answer(job_id, worker)
    return Outcome.QUARANTINED


def _answer(job_id: UUID, worker: str) -> None:
    if worker:
        wire.send_receipt(job_id, worker)
