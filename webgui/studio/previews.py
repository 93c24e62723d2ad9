"""Asking for a preview of a release, finding it, calling it off, letting go of old ones."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from generator_worker.contract import PreviewParams
from webgui.accounts import audit
from webgui.buffer.retention import old_files
from webgui.config.logs import request_id
from webgui.registry.models import Release
from webgui.registry.problems import NoSuchRelease

from . import jobs
from .models import Job, Preview
from .problems import NoSuchPreview, NotUnderWay

SEEDS = tuple(range(1, 17))
"""The same for every release, and no tags asked for: so grids compare side by side. Releases with
the same vocabulary draw the same traits from the same seed."""
BEGINNING = re.compile(r"[0-9a-f]{8,64}")
log = logging.getLogger(__name__)


def ask(release: Release, actor: audit.Actor) -> tuple[Preview, bool]:
    """A new preview of the release, or the one that is under way; and whether it is new."""
    try:
        with transaction.atomic():
            preview = _new(release, actor)
    except IntegrityError:
        # One at a time; if that one has ended this moment, so much the better.
        return of(release)[0], False
    jobs.place(preview.job)
    return preview, True


def _new(release: Release, actor: audit.Actor) -> Preview:
    user = getattr(actor, "user", actor)  # a token acts for its owner
    job = Job.objects.create(
        kind=Job.Kind.PREVIEW,
        release=release,
        params=PreviewParams(seeds=SEEDS).model_dump(mode="json"),
        asked_by=str(user)[:150],
        request=request_id(),
    )
    audit.record(actor, "release.preview_asked", release, preview=job.pk)
    return Preview.objects.create(job=job)


def find(preview_id: UUID) -> Preview:
    preview = Preview.objects.select_related("job__release").filter(pk=preview_id).first()
    if preview is None:
        raise NoSuchPreview("There is no such preview; old ones are let go of.")
    return preview


def release_of(digest: str) -> Release:
    """The release with this digest, or the only one whose digest begins so."""
    rows = Release.objects.filter(digest__startswith=digest)
    # What cannot be a digest is not looked for: some of it no database takes.
    found = list(rows[:2]) if BEGINNING.fullmatch(digest) else []
    if len(found) != 1:
        raise NoSuchRelease(
            "Give a release's digest, or enough of its beginning, 8 characters or more, to tell it "
            "from others."
        )
    return found[0]


def of(release: Release) -> QuerySet[Preview]:
    """A release's previews, the latest first."""
    return Preview.objects.select_related("job__release").filter(job__release=release)


@dataclass
class Standing:
    """What there is of one release: the preview under way, and the one judged last. Those that
    were called off say nothing."""

    under_way: Preview | None = None
    judged: Preview | None = None


def standings(releases: Iterable[Release]) -> dict[int, Standing]:
    """By the release's key."""
    found = {release.pk: Standing() for release in releases}
    rows = Preview.objects.select_related("job__release").filter(job__release__in=list(found))
    for preview in rows.order_by("job__created_at"):
        standing = found[preview.job.release_id]
        if preview.job.is_open:
            standing.under_way = preview
        elif preview.verdict != Preview.Verdict.PENDING:
            standing.judged = preview
    return found


def cancel(preview: Preview, actor: audit.Actor) -> None:
    """Call it off; one that was called off already stays so."""
    with transaction.atomic():
        if jobs.cancel(preview.job):
            audit.record(actor, "release.preview_cancelled", preview.release, preview=preview.pk)
        elif preview.job.state != Job.State.CANCELLED:
            raise NotUnderWay(f"The preview is {preview.job.state}: there is nothing to cancel.")


def forget_old() -> int:
    """Let go of jobs long over, but of each release keep its latest preview and its latest good
    one; then of the pictures that no preview shows."""
    limit = timezone.now() - timedelta(days=settings.JOB_DAYS)
    old = Job.objects.filter(settled_at__lt=limit, state__in=Job.SETTLED)
    gone, _ = old.exclude(pk__in=_worth_keeping()).delete()
    shown = {image["digest"] for images in _all_images() for image in images}
    for path in old_files(settings.MEDIA_ROOT / Preview.SHELF):
        if path.name[:64] not in shown:
            path.unlink(missing_ok=True)
    return gone


def _worth_keeping() -> set[UUID]:
    kept: dict[tuple[int, str], UUID] = {}
    rows = Preview.objects.order_by("job__created_at")
    for key, release, verdict in rows.values_list("pk", "job__release_id", "verdict"):
        kept[release, verdict] = key
    return set(kept.values())


def _all_images() -> QuerySet[Preview, list]:
    return Preview.objects.exclude(images=[]).values_list("images", flat=True)
