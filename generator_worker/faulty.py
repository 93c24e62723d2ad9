"""Releases that failed on this worker again and again, remembered on its disk.

Three failures in a row to load or to draw, and orders for the release are refused at once with the
reason, instead of failing slowly for ever. What worked in between starts the count anew; another
version of the software starts with a clean book, and an operator may forgive.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ValidationError

from generator_worker.contract import FaultyRelease
from generator_worker.disk import replace

LIMIT = 3


class _Book(BaseModel):
    software: str
    releases: dict[str, FaultyRelease] = {}


class FaultyReleases:
    """Reads the file each time: the child, the heartbeat and the operator's command share it."""

    def __init__(self, path: Path, software: str) -> None:
        self._path = path
        self._software = software

    def failed(self, digest: str, reason: str) -> bool:
        """Count a failure; True if the release is faulty from now on."""
        book = self._read()
        before = book.releases.get(digest)
        failures = (before.failures if before else 0) + 1
        book.releases[digest] = FaultyRelease(
            release_digest=digest, reason=reason[:500], failures=failures, since=datetime.now(UTC)
        )
        self._write(book)
        return failures >= LIMIT

    def worked(self, digest: str) -> None:
        self.forgive(digest)

    def fault(self, digest: str) -> FaultyRelease | None:
        """What is wrong with the release, if it is faulty."""
        entry = self._read().releases.get(digest)
        return entry if entry and entry.failures >= LIMIT else None

    def listed(self) -> tuple[FaultyRelease, ...]:
        entries = self._read().releases.values()
        return tuple(entry for entry in entries if entry.failures >= LIMIT)

    def forgive(self, digest: str | None = None) -> int:
        """Forget the failures of one release, or of all; how many there were."""
        book = self._read()
        doomed = [key for key in book.releases if digest in (None, key)]
        for key in doomed:
            del book.releases[key]
        if doomed:
            self._write(book)
        return len(doomed)

    def _read(self) -> _Book:
        try:
            book = _Book.model_validate_json(self._path.read_bytes())
        except (FileNotFoundError, ValidationError):
            return _Book(software=self._software)
        return book if book.software == self._software else _Book(software=self._software)

    def _write(self, book: _Book) -> None:
        replace(self._path, book.model_dump_json(indent=1).encode())
