"""Bringing a backup into an empty place: its files, then its database, each checked by digest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from django.core.management import call_command
from django.db import connection

from webgui.buffer import pictures
from webgui.buffer.models import Avatar
from webgui.registry import storage
from webgui.registry.models import Checkpoint, Release
from webgui.studio.models import Preview

from . import databases, shelves
from .archive import Archive, Backup, BackupFault, Damaged, Entry, digest_of
from .withdrawal import Withdrawn, withdraw


@dataclass
class Restored:
    backup: Backup
    files: int
    withdrawn: Withdrawn | None
    lacking: list[Path] = field(default_factory=list)  # files that rows name and nobody has


def check(root: Path, name: str = "") -> Backup:
    """Read all of a backup; raises BackupFault where anything of it is damaged."""
    archive = Archive(root)
    backup = _whole(archive, name)
    _each(backup, archive.verify)
    return backup


def restore(root: Path, name: str = "", moved: bool = False) -> Restored:
    """`moved`: nobody was handed anything since the backup was taken, so the stock is as good."""
    archive = Archive(root)
    backup = _whole(archive, name)
    _need_place(backup)
    files = _each(backup, lambda entry: _bring(archive, entry))
    # Last, so that no server finds rows whose files are still on their way.
    databases.load(backup.database)
    if databases.known() - set(databases.applied()):
        call_command("migrate", verbosity=0, interactive=False)
    withdrawn = None if moved else withdraw(backup)
    return Restored(backup, files, withdrawn, [path for path in _named() if not path.exists()])


def _whole(archive: Archive, name: str) -> Backup:
    backup = archive.find(name)
    try:
        backup.check()
    except (Damaged, FileNotFoundError) as fault:
        raise BackupFault(f"{fault} Name another backup.") from fault
    return backup


def _need_place(backup: Backup) -> None:
    if backup.about["database"] != connection.vendor:
        raise BackupFault(
            f"It is a backup of {backup.about['database']}; STYLEDIFFUSER_DATABASE_URL is of "
            f"{connection.vendor}."
        )
    if newer := sorted(set(backup.about["migrations"]) - databases.known()):
        raise BackupFault(
            f"It was taken with version {backup.about['version']}, which knows what this one does "
            f"not ({newer[0]}). Restore it with that version."
        )
    if not databases.is_empty():
        raise BackupFault("The database is not empty. Nothing was changed; give it an empty one.")


def _each(backup: Backup, act: Callable[[Entry], None]) -> int:
    """Of all its files; those that are damaged are told together, at the end."""
    count, faults = 0, []
    for entry in backup.entries():
        try:
            act(entry)
            count += 1
        except Damaged as fault:
            faults.append(str(fault))
    if faults:
        raise BackupFault("\n".join([f"{len(faults)} files are damaged:", *faults]))
    return count


def _bring(archive: Archive, entry: Entry) -> None:
    target = shelves.place(entry.path)
    # What an earlier attempt has brought is not copied again.
    if not target.is_file() or digest_of(target) != entry.sha256:
        archive.fetch(entry, target)


def _named() -> Iterator[Path]:
    """Every file that a row names."""
    for digest in Avatar.objects.values_list("digest", flat=True).iterator():
        yield pictures.stored(digest)
    for images in Preview.objects.values_list("images", flat=True).iterator():
        yield from (pictures.stored(image["digest"], Preview.SHELF) for image in images)
    for listed in Checkpoint.objects.values_list("files", flat=True).iterator():
        yield from (storage.place(part["sha256"]) for part in listed)
    for release in Release.objects.iterator():
        yield storage.place(release.digest)
        yield from (storage.place(part["sha256"]) for part in release.manifest["components"])
