"""Letting go of what nobody will be served: discarded avatars, files without a row."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from .models import Avatar, Pool
from .pictures import stored
from .shown import links, withdrawn

CHUNK = 500
# An ingest under way has files whose rows are not written yet.
YOUNG_SECONDS = 3600
UPLOAD_SECONDS = 24 * 3600
DIGEST = re.compile(r"^[0-9a-f]{64}")


@dataclass
class Pruned:
    avatars: int = 0
    files: int = 0
    quarantined: int = 0

    def __str__(self) -> str:
        return (
            f"Removed {self.avatars} discarded avatars, {self.files} orphaned files and "
            f"{self.quarantined} deliveries long in quarantine."
        )


def prune(all_discarded: bool = False, dry_run: bool = False) -> Pruned:
    """Remove orphaned files, old quarantine, and avatars discarded long ago or, where asked, all
    of them: then no rollback brings them back."""
    pruned = Pruned()
    days = 0 if all_discarded else settings.DISCARDED_DAYS
    for pool in Pool.objects.all():
        _prune_rows(pruned, pool, days, dry_run)
    _prune_files(pruned, dry_run)
    _prune_quarantine(pruned, dry_run)
    return pruned


def _prune_rows(pruned: Pruned, pool: Pool, days: int, dry_run: bool) -> None:
    limit = timezone.now() - timedelta(days=days)
    doomed = Avatar.objects.filter(pool=pool, state=Avatar.State.RETIRED, retired_at__lt=limit)
    if dry_run:
        pruned.avatars += doomed.count()
        return
    while digests := _delete_some(pool, doomed):
        for digest in digests:
            stored(digest).unlink(missing_ok=True)
        pruned.avatars += len(digests)


@transaction.atomic
def _delete_some(pool: Pool, doomed: QuerySet[Avatar]) -> list[str]:
    """The digests of the rows deleted. Under the pool's lock, since a rollback might want them."""
    Pool.objects.select_for_update(no_key=True).filter(pk=pool.pk).first()
    rows = list(doomed.values_list("pk", "digest")[:CHUNK])
    Avatar.objects.filter(pk__in=[key for key, _ in rows]).delete()
    return [digest for _, digest in rows]


def _prune_files(pruned: Pruned, dry_run: bool) -> None:
    roots = (settings.MEDIA_ROOT / "avatars", settings.IMAGE_CACHE_ROOT)
    for chunk in _chunks(path for root in roots for path in old_files(root)):
        by_digest = {path: path.name[:64] for path in chunk}
        known = set(
            Avatar.objects.filter(digest__in=set(by_digest.values())).values_list(
                "digest", flat=True
            )
        )
        for path, digest in by_digest.items():
            if digest not in known:
                pruned.files += 1
                if not dry_run:
                    path.unlink(missing_ok=True)
    _prune_links(dry_run)
    abandoned = _old_entries(settings.MEDIA_ROOT / "staging", YOUNG_SECONDS)
    # Uploads that were begun and never finished: their worker starts anew, or is no more.
    abandoned += _old_entries(settings.SFTP_ROOT / "inbox" / "tmp", UPLOAD_SECONDS)
    for folder in abandoned:
        if not dry_run:
            shutil.rmtree(folder, ignore_errors=True)


def _prune_links(dry_run: bool) -> None:
    """After the files: a second name would keep a picture that was taken away."""
    for chunk in _chunks(links()):
        for link in withdrawn(chunk):
            if not dry_run:
                link.unlink(missing_ok=True)


def _prune_quarantine(pruned: Pruned, dry_run: bool) -> None:
    """A worker gone bad must not fill the disk; the reason stays on the batch's row."""
    for place in _old_entries(settings.QUARANTINE_ROOT, settings.QUARANTINE_DAYS * 86_400):
        pruned.quarantined += 1
        if not dry_run:
            shutil.rmtree(place, ignore_errors=True)


def old_files(root: Path) -> Iterator[Path]:
    """Our files below `root`, and drafts that a killed process left."""
    limit = time.time() - YOUNG_SECONDS
    for path in root.glob("*/*/*"):
        ours = DIGEST.match(path.name) or path.name.startswith(".")
        if ours and path.lstat().st_mtime < limit:
            yield path


def _old_entries(root: Path, seconds: float) -> list[Path]:
    limit = time.time() - seconds
    return [path for path in root.glob("*") if path.lstat().st_mtime < limit]


def _chunks(paths: Iterable[Path]) -> Iterator[list[Path]]:
    iterator = iter(paths)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk
