"""The folder that backups lie in. Files are kept by digest: one that has not changed since the
last backup is not copied again."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FORMAT = 1
BLOCK = 2**20
NAME = re.compile(r"\d{8}T\d{9}Z")
SHA256 = re.compile(r"[0-9a-f]{64}")


class BackupFault(Exception):
    """It cannot be done; the message says why and what to do."""


class Damaged(Exception):
    """A file is not what its digest says, or is not there."""


@dataclass(frozen=True)
class Entry:
    """One file: where it belongs, and what it must be."""

    path: str  # "media/avatars/ab/cd/abcd….png"; its first part is a shelf
    sha256: str
    bytes: int
    mode: int


@dataclass(frozen=True)
class Backup:
    folder: Path
    about: dict[str, Any]

    @property
    def database(self) -> Path:
        return self.folder / "database"

    def entries(self) -> Iterator[Entry]:
        with (self.folder / "files.jsonl").open() as lines:
            for line in lines:
                yield Entry(**json.loads(line))

    def check(self) -> None:
        """That its own two files are whole; raises Damaged."""
        for name in ("database", "files.jsonl"):
            if digest_of(self.folder / name) != self.about["digests"][name]:
                raise Damaged(f"{self.folder.name}/{name} is not what it was when it was written.")


class Archive:
    def __init__(self, root: Path) -> None:
        self.root = root
        self._objects = root / "objects"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One backup at a time: another's tidying must not take our files for unused ones."""
        self._objects.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)
        with (self.root / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BackupFault(f"Another backup is being written into {self.root}.") from error
            yield

    def keep(self, source: Path, path: str) -> Entry:
        """Store a file. One that is named by its digest and stored already is not read again;
        raises Damaged where its bytes have another digest than its name says."""
        status = source.stat()
        name = SHA256.match(source.name)
        known = name is not None and self._has(name[0], status.st_size)
        sha256 = name[0] if name and known else self._copy_in(source, name and name[0])
        return Entry(path, sha256, status.st_size, status.st_mode & 0o777)

    def fetch(self, entry: Entry, target: Path) -> None:
        """Write a file to where it belongs, whole or not at all."""
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.restored")
        try:
            if _copy(self._place(entry.sha256), draft) != entry.sha256:
                raise Damaged(f"{entry.path} is not what it was when it was stored.")
            draft.chmod(entry.mode)
            draft.replace(target)
        except FileNotFoundError as error:
            raise Damaged(f"{entry.path} is not in the backup.") from error
        finally:
            draft.unlink(missing_ok=True)

    def verify(self, entry: Entry) -> None:
        try:
            found = digest_of(self._place(entry.sha256))
        except FileNotFoundError as error:
            raise Damaged(f"{entry.path} is not in the backup.") from error
        if found != entry.sha256:
            raise Damaged(f"{entry.path} is not what it was when it was stored.")

    def finish(self, draft: Path, name: str, about: dict[str, Any]) -> Backup:
        digests = {part: digest_of(draft / part) for part in ("database", "files.jsonl")}
        about = {"format": FORMAT, "name": name, **about, "digests": digests}
        (draft / "backup.json").write_text(json.dumps(about, indent=2) + "\n")
        # A folder without a dot says that all of it is on the disk.
        for path in (*draft.iterdir(), draft, *self._objects.iterdir(), self._objects):
            _sync(path)
        draft.rename(self.root / name)
        _sync(self.root)
        return Backup(self.root / name, about)

    def backups(self) -> list[Backup]:
        """All that are whole, the oldest first."""
        found = sorted(path for path in self.root.glob("*Z") if NAME.fullmatch(path.name))
        return [Backup(path, json.loads((path / "backup.json").read_text())) for path in found]

    def find(self, name: str) -> Backup:
        """The one of this name; the latest where no name is given."""
        known = {backup.folder.name: backup for backup in self.backups()}
        if not known:
            raise BackupFault(f"There is no whole backup in {self.root}.")
        chosen = known.get(name or max(known))
        if chosen is None:
            raise BackupFault(f"There is no backup {name!r}. There are: {', '.join(known)}.")
        if chosen.about["format"] != FORMAT:
            raise BackupFault(f"{chosen.folder.name} was written by a newer version of this.")
        return chosen

    def forget_all_but(self, count: int) -> int:
        """Remove older backups, and the files that none of the others has; how many backups."""
        old = self.backups()[:-count]
        for backup in old:
            # Its name first: half removed it must not look whole.
            shutil.rmtree(backup.folder.rename(self.root / f".{backup.folder.name}"))
        if old:
            used = {entry.sha256 for backup in self.backups() for entry in backup.entries()}
            for path in self._objects.glob("*/*"):
                if path.name not in used:
                    path.unlink()
        return len(old)

    def clear_drafts(self) -> None:
        for path in self.root.glob(".*Z"):
            shutil.rmtree(path)

    def _place(self, sha256: str) -> Path:
        return self._objects / sha256[:2] / sha256

    def _has(self, sha256: str, size: int) -> bool:
        try:
            return self._place(sha256).stat().st_size == size
        except FileNotFoundError:
            return False

    def _copy_in(self, source: Path, expected: str | None) -> str:
        draft = self._objects / ".draft"
        try:
            sha256 = _copy(source, draft)
            if expected is not None and sha256 != expected:
                raise Damaged(f"{source} is not what its name says.")
            self._place(sha256).parent.mkdir(exist_ok=True)
            draft.replace(self._place(sha256))
        finally:
            draft.unlink(missing_ok=True)
        return sha256


def as_line(entry: Entry) -> str:
    return json.dumps(asdict(entry)) + "\n"


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copy(source: Path, target: Path) -> str:
    """Copy, for the owner's eyes alone; the digest of what was copied."""
    digest = hashlib.sha256()
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with source.open("rb") as reader, os.fdopen(handle, "wb") as writer:
        while block := reader.read(BLOCK):
            digest.update(block)
            writer.write(block)
        writer.flush()
        os.fsync(writer.fileno())
    return digest.hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
