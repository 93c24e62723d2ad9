"""The durable spool: finished batches, and what jobs brought, wait on the worker's own disk until
the server's receipt. Here both are called batches, for both have an id, images and a manifest.

    making/<batch_id>/    images as they come; worthless after a crash
    ready/<batch_id>/     images and manifest, whole and synced: the work is safe from here on
    settled/<batch_id>    empty: the server has it; a repeated order is not made again
    ids/<batch_id>        what logs name it by: its batch or job, the web request behind it

A batch moves making → ready by one rename, and leaves ready only in `settle`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from uuid import UUID

from pydantic import TypeAdapter

from generator_worker.contract import MANIFEST_NAME, JobManifest, Manifest, ManifestImage
from generator_worker.disk import sync_folder, write_synced
from messaging import logs

REMEMBER_SETTLED = 10_000
AnyManifest = Manifest | JobManifest
_READER: TypeAdapter[AnyManifest] = TypeAdapter(AnyManifest)


class Outbox:
    def __init__(self, root: Path) -> None:
        self._making, self._ready, self._settled, self._ids = (
            root / name for name in ("making", "ready", "settled", "ids")
        )
        for folder in (self._making, self._ready, self._settled, self._ids):
            folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def spool(self, batch_id: UUID) -> Iterator[Spool]:
        """Collect one batch; whatever was not published by the end is thrown away."""
        folder = self._making / str(batch_id)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (self._ids / str(batch_id)).write_text(json.dumps(dict(logs.current.get())))
        try:
            yield Spool(folder, self._ready / str(batch_id))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            if not self.holds(batch_id):
                self._forget_ids(batch_id)

    def holds(self, batch_id: UUID) -> bool:
        return self.folder(batch_id).is_dir()

    def is_settled(self, batch_id: UUID) -> bool:
        return (self._settled / str(batch_id)).exists()

    def folder(self, batch_id: UUID) -> Path:
        return self._ready / str(batch_id)

    def manifest(self, batch_id: UUID) -> AnyManifest:
        return _READER.validate_json((self.folder(batch_id) / MANIFEST_NAME).read_bytes())

    def ids(self, batch_id: UUID) -> dict[str, str]:
        """What was bound for the logs as it was made."""
        try:
            return dict(json.loads((self._ids / str(batch_id)).read_bytes()))
        except (FileNotFoundError, ValueError):  # of no account to anybody's avatar
            return {"batch": str(batch_id)}

    def _forget_ids(self, batch_id: UUID) -> None:
        (self._ids / str(batch_id)).unlink(missing_ok=True)

    def waiting(self) -> list[UUID]:
        """Batches without a receipt, oldest first."""
        folders = []
        for folder in self._ready.iterdir():
            try:
                folders.append((folder.stat().st_mtime, UUID(folder.name)))
            except (FileNotFoundError, ValueError):
                continue  # settled meanwhile, or not ours
        return [batch_id for _, batch_id in sorted(folders)]

    def settle(self, batch_id: UUID) -> bool:
        """The server's receipt is here: forget the images. False if there were none."""
        if not self.holds(batch_id):
            return False
        write_synced(self._settled / str(batch_id), b"")
        sync_folder(self._settled)
        # Out of `ready` in one step, so that no half-deleted batch is ever delivered.
        doomed = self._making / f"{batch_id}.settled"
        shutil.rmtree(doomed, ignore_errors=True)
        self.folder(batch_id).rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
        self._forget_ids(batch_id)
        self._forget_oldest()
        return True

    def _forget_oldest(self) -> None:
        marks = list(self._settled.iterdir())
        if len(marks) > REMEMBER_SETTLED * 1.1:
            marks.sort(key=lambda mark: mark.stat().st_mtime)
            for mark in marks[:-REMEMBER_SETTLED]:
                mark.unlink(missing_ok=True)


@dataclass
class Spool:
    """A batch being made."""

    folder: Path
    target: Path
    images: list[ManifestImage] = field(default_factory=list)

    def add(
        self,
        png: bytes,
        *,
        size: tuple[int, int],
        seed: int,
        score: float,
        safety: float,
        tags: Sequence[str],
    ) -> None:
        name = f"{seed}.png"
        write_synced(self.folder / name, png)
        self.images.append(
            ManifestImage(
                file=name,
                sha256=sha256(png).hexdigest(),
                bytes=len(png),
                width=size[0],
                height=size[1],
                seed=seed,
                score=score,
                safety=safety,
                tags=tuple(tags),
            )
        )

    def publish(self, manifest: AnyManifest) -> None:
        """From here on the batch is safe from a crash. It must list this spool's images."""
        assert manifest.images == tuple(self.images)  # noqa: S101
        write_synced(self.folder / MANIFEST_NAME, manifest.model_dump_json(indent=1).encode())
        sync_folder(self.folder)
        self.folder.rename(self.target)
        sync_folder(self.target.parent)
