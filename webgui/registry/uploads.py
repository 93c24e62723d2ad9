"""Uploads from their first request to a whole file whose digest is known.

upload = begin(Announcement(…), user)      # perhaps whole at once: the file is known already
receive(upload, offset, size, read, None)  # as often as it takes; see `receiving`
upload = finish(upload)                    # upload.checkpoint is the file's, maybe another's
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Sum
from django.utils import timezone

from messaging.logs import bound
from webgui.accounts import audit
from webgui.config.logs import request_id

from . import digests, doorbell
from .models import Checkpoint, Upload
from .problems import BadUpload, ChecksumMismatch, DiskFull, FileTooLarge, NoSuchUpload

MIB = 2**20
# Left free on the disk for everything else that lives there.
RESERVE = 256 * MIB
YOUNG_SECONDS = 3600
SHA256 = re.compile(r"^[0-9a-f]{64}$")
State = Checkpoint.State
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Announcement:
    """What a client tells before it sends anything."""

    length: int
    name: str = ""
    sha256: str = ""
    metadata: str = ""


def find(upload_id: UUID) -> Upload:
    upload = Upload.objects.select_related("checkpoint").filter(pk=upload_id).first()
    if upload is None:
        raise NoSuchUpload("There is no such upload: it was ended, or it expired. Begin a new one.")
    return upload


def begin(announced: Announcement, user: Any) -> Upload:
    """A new upload at offset 0. Where the announced digest is known, one that is whole, or the
    half-done one of the same file: whoever chooses the file again goes on where it stands."""
    limit = settings.UPLOAD_MAX_MIB * MIB
    if announced.length > limit:
        raise FileTooLarge(
            f"{announced.length} bytes are more than the {limit} that a file may have; "
            "STYLEDIFFUSER_UPLOAD_MAX_MIB raises that."
        )
    if announced.sha256 and not SHA256.match(announced.sha256):
        raise BadUpload("sha256 in Upload-Metadata must be 64 hexadecimal digits in lower case.")
    if (standing := _known(announced) or _half_done(announced)) is not None:
        return standing
    _need_room(announced.length)
    name = _bare(announced.name) or "unnamed"
    with transaction.atomic():
        checkpoint = Checkpoint.objects.create(
            name=name, size=announced.length, uploaded_by=user, request=request_id()
        )
        upload = _upload(checkpoint, announced)
        settings.UPLOAD_ROOT.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(checkpoint.original, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with bound(checkpoint=checkpoint.pk, upload=upload.pk):
        log.info("An upload of %d bytes has begun", announced.length)
    return upload


def finish(upload: Upload, actor: audit.Actor | None = None) -> Upload:
    """Hand a whole file over to inspection, once. A file that is here already is not kept twice:
    the upload's checkpoint is the earlier one from then on. `actor` is else the uploader."""
    checkpoint = upload.checkpoint
    if not upload.whole or checkpoint.state != State.UPLOADING:
        return upload
    try:
        sha256 = _seal(upload)
    except FileNotFoundError:  # another request is through with it
        return find(upload.pk)
    if upload.announced and upload.announced != sha256:
        end(upload)
        raise ChecksumMismatch(
            f"The whole file has the SHA-256 {sha256}, not the announced one: it changed on its "
            "way or while it was read. It was not kept; upload it again."
        )
    mine = Checkpoint.objects.filter(pk=checkpoint.pk, state=State.UPLOADING)
    try:
        with transaction.atomic():
            won = mine.update(state=State.INSPECTING, sha256=sha256)
            if won:
                _note(checkpoint, sha256, actor)
    except IntegrityError:
        _join(upload, Checkpoint.objects.get(sha256=sha256))
    else:
        if won:
            with bound(checkpoint=checkpoint.pk, upload=upload.pk, request=checkpoint.request):
                log.info("The upload is whole: SHA-256 %s", sha256)
                doorbell.ring_inspection(checkpoint.pk)
    digests.forget(upload.pk)
    return find(upload.pk)


def _note(checkpoint: Checkpoint, sha256: str, actor: audit.Actor | None) -> None:
    actor = actor or checkpoint.uploaded_by or "a deleted user"
    audit.record(actor, "checkpoint.uploaded", checkpoint, sha256=sha256, size=checkpoint.size)


def end(upload: Upload) -> None:
    """Forget the upload, and its file unless that is a checkpoint by now."""
    with bound(checkpoint=upload.checkpoint_id, upload=upload.pk):
        log.info("The upload is ended at byte %d of %d", upload.offset, upload.length)
    digests.forget(upload.pk)
    with transaction.atomic():
        half_done = Checkpoint.objects.select_for_update().filter(
            pk=upload.checkpoint_id, state=State.UPLOADING
        )
        checkpoint = half_done.first()
        original = checkpoint.original if checkpoint else None
        if checkpoint is not None:
            checkpoint.delete()
        Upload.objects.filter(pk=upload.pk).delete()
    if original is not None:
        original.unlink(missing_ok=True)


def tidy() -> int:
    """End uploads nobody has gone on with, and finish those whose last answer was cut short.
    Returns how many half-done ones were ended."""
    limit = timezone.now() - timedelta(hours=settings.UPLOAD_EXPIRY_HOURS)
    whole = Upload.objects.filter(offset=F("length"), checkpoint__state=State.UPLOADING)
    for upload in whole.select_related("checkpoint"):
        try:
            finish(upload)
        except ChecksumMismatch:
            continue
    ended = 0
    for upload in Upload.objects.filter(touched_at__lt=limit).select_related("checkpoint"):
        ended += not upload.whole
        end(upload)
    _remove_orphans()
    return ended


def used_bytes() -> int:
    """What counts against the quota: whole and half-done files, at their announced size."""
    gone = (State.READY, State.UNSAFE)
    originals = Checkpoint.objects.exclude(state__in=gone).aggregate(sum=Sum("size"))["sum"]
    converted = Checkpoint.objects.aggregate(sum=Sum("stored_bytes"))["sum"]
    return (originals or 0) + (converted or 0)


def _need_room(length: int) -> None:
    quota, used = settings.CHECKPOINT_QUOTA_MIB * MIB, used_bytes()
    if used + length > quota:
        raise DiskFull(
            f"Checkpoints may use {quota // MIB} MiB together and use {used // MIB} MiB: delete "
            "some, or raise STYLEDIFFUSER_CHECKPOINT_QUOTA_MIB."
        )
    settings.UPLOAD_ROOT.mkdir(parents=True, exist_ok=True, mode=0o700)
    free = shutil.disk_usage(settings.UPLOAD_ROOT).free
    if free < length + RESERVE:
        raise DiskFull(
            f"The disk has {free // MIB} MiB left, too little for this file of "
            f"{length // MIB} MiB: make room first."
        )


def _known(announced: Announcement) -> Upload | None:
    if not announced.sha256:
        return None
    same = Checkpoint.objects.filter(sha256=announced.sha256, size=announced.length).first()
    return _upload(same, announced, offset=announced.length) if same else None


def _half_done(announced: Announcement) -> Upload | None:
    if not announced.sha256:
        return None
    same = Upload.objects.select_related("checkpoint").filter(
        announced=announced.sha256, length=announced.length, checkpoint__state=State.UPLOADING
    )
    return same.order_by("-offset").first()


def _upload(checkpoint: Checkpoint, announced: Announcement, offset: int = 0) -> Upload:
    return Upload.objects.create(
        checkpoint=checkpoint,
        length=announced.length,
        offset=offset,
        metadata=announced.metadata,
        announced=announced.sha256,
    )


def _seal(upload: Upload) -> str:
    """The SHA-256 of the whole file, which has no byte more from here on."""
    fd = os.open(upload.checkpoint.original, os.O_RDWR | os.O_NOFOLLOW)
    try:
        os.ftruncate(fd, upload.length)
        os.fsync(fd)
        return str(digests.resume(upload.pk, fd, upload.length).hexdigest())
    finally:
        os.close(fd)


def _join(upload: Upload, known: Checkpoint) -> None:
    double = upload.checkpoint
    Upload.objects.filter(pk=upload.pk).update(checkpoint=known)
    with transaction.atomic():
        Checkpoint.objects.filter(pk=double.pk, state=State.UPLOADING).delete()
    double.original.unlink(missing_ok=True)


def _bare(name: str) -> str:
    """The name alone: no folders, nothing that could not be shown."""
    last = re.split(r"[/\\]", name)[-1]
    return "".join(letter for letter in last if letter.isprintable()).strip()[:255]


def _remove_orphans() -> None:
    """Files whose row is gone: a process was killed between the two."""
    limit = time.time() - YOUNG_SECONDS
    for path in Path(settings.UPLOAD_ROOT).glob("*"):
        try:
            key = UUID(path.name)
        except ValueError:
            continue  # not ours
        if path.lstat().st_mtime < limit and not Checkpoint.objects.filter(pk=key).exists():
            path.unlink(missing_ok=True)
