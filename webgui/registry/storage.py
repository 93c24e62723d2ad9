"""Converted files where workers read them: `checkpoints/<sha256>` at the SFTP server.

Each file lies under the digest of its own bytes, so a worker can check what it fetched by its
name alone, and two checkpoints that share a file share its storage.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from .models import Checkpoint, Release


def root() -> Path:
    return Path(settings.SFTP_ROOT) / "checkpoints"


def place(sha256: str) -> Path:
    return root() / sha256


def store(source: Path) -> dict[str, Any]:
    """Move a file, which is whole and closed, to its place; its entry in `Checkpoint.files`."""
    with source.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    size, target = source.stat().st_size, place(sha256)
    root().mkdir(parents=True, exist_ok=True)
    if not target.exists():
        # What is visible under its digest is whole: workers may look at any moment.
        draft = root() / f".{uuid.uuid4()}"
        shutil.move(source, draft)
        draft.chmod(0o644)
        draft.replace(target)
    return {"sha256": sha256, "bytes": size}


def keep(source: Path, sha256: str) -> None:
    """Copy a file to its place, unless it is there. ValueError if its digest is another."""
    root().mkdir(parents=True, exist_ok=True)
    if place(sha256).exists():
        return
    draft = root() / f".{uuid.uuid4()}"
    try:
        shutil.copyfile(source, draft)
        with draft.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise ValueError(f"{source} changed while it was copied")
            os.fsync(file.fileno())
        draft.chmod(0o644)
        draft.replace(place(sha256))
    finally:
        draft.unlink(missing_ok=True)


def keep_content(content: bytes) -> str:
    """Write a small file of the server's own making to its place; its digest."""
    sha256 = hashlib.sha256(content).hexdigest()
    root().mkdir(parents=True, exist_ok=True)
    if not place(sha256).exists():
        draft = root() / f".{uuid.uuid4()}"
        with draft.open("wb") as file:
            file.write(content)
            os.fsync(file.fileno())
        draft.chmod(0o644)
        draft.replace(place(sha256))
    return sha256


def release(files: Iterable[dict[str, Any]]) -> None:
    """Remove what no checkpoint and no release has any more."""
    with transaction.atomic():
        releases = Release.objects.all()
        lists = [*Checkpoint.objects.exclude(files=[]).values_list("files", flat=True)]
        lists += [row.manifest.get("components", ()) for row in releases]
        kept = {entry["sha256"] for listed in lists for entry in listed}
        kept |= {row.digest for row in releases}
        for entry in files:
            if entry["sha256"] not in kept:
                place(entry["sha256"]).unlink(missing_ok=True)
