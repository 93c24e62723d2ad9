"""Taking a backup while the server works.

Files first, then the database, then the files again: what a row of the database's copy names was
there at that moment, so it was there the first time, unless it came since, and then it is the
second time. What is removed in between is in the first copy. No claim waits for any of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db import connection
from django.utils import timezone

from . import databases, shelves
from .archive import Archive, Backup, Damaged, Entry, as_line


@dataclass
class Taken:
    backup: Backup
    removed: int  # older backups
    damaged: list[str]  # files that were not worth keeping


def take(root: Path, keep: int = 0) -> Taken:
    """`keep`: remove all but so many of the last; 0 keeps all."""
    archive = Archive(root)
    with archive.locked():
        archive.clear_drafts()
        began = timezone.now()
        name = f"{began:%Y%m%dT%H%M%S}{began.microsecond // 1000:03}Z"
        draft = root / f".{name}"
        draft.mkdir(mode=0o700)
        damaged: list[str] = []
        entries = {entry.path: entry for entry in _kept(archive, damaged)}
        migrations = databases.applied()
        databases.dump(draft / "database")
        entries |= {entry.path: entry for entry in _kept(archive, damaged)}
        with (draft / "files.jsonl").open("w") as lines:
            lines.writelines(as_line(entries[path]) for path in sorted(entries))
        about = {
            "taken_at": began.isoformat(),
            "version": settings.VERSION,
            "database": connection.vendor,
            "migrations": migrations,
            "files": len(entries),
            "bytes": sum(entry.bytes for entry in entries.values()),
        }
        backup = archive.finish(draft, name, about)
        removed = archive.forget_all_but(keep) if keep else 0
    return Taken(backup, removed, sorted(set(damaged)))


def _kept(archive: Archive, damaged: list[str]) -> Iterator[Entry]:
    for path, source in shelves.files():
        try:
            yield archive.keep(source, path)
        except FileNotFoundError:
            pass  # removed since we saw it: no row that will be copied names it
        except Damaged as fault:
            # The others are worth keeping all the more.
            damaged.append(str(fault))
