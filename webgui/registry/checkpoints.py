"""What administrators do with checkpoints once they are here."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db import transaction

from messaging.logs import bound
from webgui.accounts import audit
from webgui.config.logs import request_id

from . import doorbell, storage, uploads
from .models import Checkpoint, Release
from .problems import NoSuchCheckpoint, NotNow

State = Checkpoint.State
# Settled states in which the file as uploaded is still here.
LOOKED_AT_AGAIN = (State.UNSUPPORTED, State.INCOMPATIBLE, State.CORRUPT)
log = logging.getLogger(__name__)


def find(checkpoint_id: UUID) -> Checkpoint:
    checkpoint = Checkpoint.objects.filter(pk=checkpoint_id).first()
    if checkpoint is None:
        raise NoSuchCheckpoint("There is no such checkpoint; it may have been deleted.")
    return checkpoint


def inspect_again(checkpoint: Checkpoint, actor: audit.Actor, kind: str = "") -> Checkpoint:
    """Another inspection of a file that was refused, perhaps with a word on what it is."""
    refused = Checkpoint.objects.filter(pk=checkpoint.pk, state__in=LOOKED_AT_AGAIN)
    with transaction.atomic():
        begun = refused.update(
            state=State.INSPECTING,
            kind_wanted=kind,
            reason="",
            report={},
            attempts=0,
            inspect_deadline=None,
            settled_at=None,
            request=request_id(),
        )
        if begun:
            audit.record(actor, "checkpoint.inspected_again", checkpoint, kind=kind)
    if not begun:
        checkpoint.refresh_from_db(fields=["state"])
        raise NotNow(
            f"A checkpoint that is {checkpoint.state} is not inspected again; only "
            f"{', '.join(LOOKED_AT_AGAIN)} ones are."
        )
    with bound(checkpoint=checkpoint.pk):
        log.info("Another inspection is asked for")
        doorbell.ring_inspection(checkpoint.pk)
    return find(checkpoint.pk)


def delete(checkpoint: Checkpoint, actor: audit.Actor) -> None:
    """Remove a checkpoint with its files; one that a release is made of stays."""
    with transaction.atomic():
        row = Checkpoint.objects.select_for_update().filter(pk=checkpoint.pk).first()
        if row is None:
            return
        if row.state == State.INSPECTING:
            raise NotNow("It is being inspected: wait until that is over, then delete it.")
        if releases := used_by([row])[row.pk]:
            names = ", ".join(release.title for release in releases)
            raise NotNow(f"Releases are made of it: {names}.")
        audit.record(actor, "checkpoint.deleted", row, state=row.state, sha256=row.sha256)
        half_done = list(row.uploads.all()) if row.state == State.UPLOADING else []
        if not half_done:
            row.delete()
    for upload in half_done:
        uploads.end(upload)
    checkpoint.original.unlink(missing_ok=True)
    storage.release(row.files)


def used_by(checkpoints: Iterable[Checkpoint]) -> dict[UUID, list[Release]]:
    """The releases that have weights of each checkpoint; other files may be anybody's."""
    having: dict[str, list[Release]] = defaultdict(list)
    for release in Release.objects.all():
        for component in release.manifest.get("components", ()):
            having[component.get("sha256", "")].append(release)
    return {
        checkpoint.pk: _distinct(
            release for file in weights(checkpoint) for release in having[file["sha256"]]
        )
        for checkpoint in checkpoints
    }


def weights(checkpoint: Checkpoint) -> list[dict[str, Any]]:
    """Its own files; a tokenizer, say, is the same in many. All of them where it has no weights."""
    found = [file for file in checkpoint.files if file["file"].endswith(".safetensors")]
    return found or checkpoint.files


def _distinct(releases: Iterable[Release]) -> list[Release]:
    return list({release.pk: release for release in releases}.values())
