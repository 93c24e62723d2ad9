"""What a worker may do over SFTP: drop batches in, read checkpoints, nothing else.

    inbox/tmp/<batch>.<worker>/    create, write, rename inside, remove; an enrolled worker only
                                   its own
    inbox/new/<batch>/             appears only by renaming the former; then out of reach
    checkpoints/                   read

Everything else is refused, symlinks and `..` too. Production runs OpenSSH's internal-sftp,
which is coarser; a client that satisfies this server satisfies that one.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncssh
from asyncssh import FXF_APPEND, FXF_CREAT, FXF_TRUNC, FXF_WRITE, SFTPAttrs

from generator_worker.contract import JOB_FOLDER, worker_account
from messaging.logs import bound

WRITING = FXF_WRITE | FXF_APPEND | FXF_CREAT | FXF_TRUNC
FOLDERS = ("inbox/tmp", "inbox/new", "checkpoints")
TMP = (b"inbox", b"tmp")
NEW = (b"inbox", b"new")

Parts = tuple[bytes, ...]
log = logging.getLogger(__name__)


def lay_out(root: Path) -> None:
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)


def _parts(path: bytes) -> Parts:
    parts = tuple(part for part in path.split(b"/") if part not in (b"", b"."))
    if b".." in parts or b"\0" in path:
        raise asyncssh.SFTPPermissionDenied("Paths with '..' are refused.")
    return parts


def _refuse(why: str) -> asyncssh.SFTPPermissionDenied:
    return asyncssh.SFTPPermissionDenied(why)


_BATCH, _FILE = 3, 4


class Dropbox(asyncssh.SFTPServer):
    def __init__(self, chan: Any, root: Path) -> None:
        super().__init__(chan, chroot=os.fsencode(root))
        self._home = root.resolve()
        user = str(chan.get_connection().get_extra_info("username", ""))
        # The demo's own worker has no account of its own, and may have any name.
        prefix = worker_account("")
        self._worker = user.removeprefix(prefix) if user.startswith(prefix) else ""

    def map_path(self, path: bytes) -> bytes:
        """Refuse `..`, and symlinks that someone with shell access may have put here."""
        mapped = self._home.joinpath(*map(os.fsdecode, _parts(path)))
        if mapped.resolve() != mapped:
            raise _refuse("Symlinks are refused.")
        return os.fsencode(mapped)

    def _need_draft(self, path: bytes, depth: int) -> None:
        """The path must lie in a batch that this worker is still uploading."""
        parts = _parts(path)
        if parts[:2] != TMP or len(parts) != depth or not self._is_own(parts[2]):
            raise _refuse("Workers write in their inbox/tmp/<batch>.<worker>/ only.")

    def _is_own(self, draft: bytes) -> bool:
        return not self._worker or draft.partition(b".")[2] == self._worker.encode()

    def open(self, path: bytes, pflags: int, attrs: SFTPAttrs) -> Any:
        if pflags & WRITING:
            self._need_draft(path, _FILE)
        elif _parts(path)[:1] != (b"checkpoints",):
            raise _refuse("Workers read in checkpoints/ only.")
        return super().open(path, pflags, attrs)

    def open56(self, path: bytes, desired_access: int, flags: int, attrs: SFTPAttrs) -> Any:
        raise asyncssh.SFTPOpUnsupported("This server speaks SFTP version 3.")

    async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
        """Without the entries `.` and `..`, which lead where workers may not look."""
        with os.scandir(self.map_path(path)) as entries:
            for entry in entries:
                attrs = SFTPAttrs.from_local(entry.stat(follow_symlinks=False))
                yield asyncssh.SFTPName(entry.name, attrs=attrs)

    def mkdir(self, path: bytes, attrs: SFTPAttrs) -> Any:
        self._need_draft(path, _BATCH)
        return super().mkdir(path, attrs)

    def rmdir(self, path: bytes) -> Any:
        self._need_draft(path, _BATCH)
        return super().rmdir(path)

    def remove(self, path: bytes) -> Any:
        self._need_draft(path, _FILE)
        return super().remove(path)

    def setstat(self, path: bytes, attrs: SFTPAttrs) -> Any:
        self._need_draft(path, _FILE)
        return super().setstat(path, attrs)

    def lsetstat(self, path: bytes, attrs: SFTPAttrs) -> Any:
        return self.setstat(path, attrs)

    def fsetstat(self, file_obj: Any, attrs: SFTPAttrs) -> Any:
        if not file_obj.writable():
            raise _refuse("Only files being written can be changed.")
        return super().fsetstat(file_obj, attrs)

    def symlink(self, oldpath: bytes, newpath: bytes) -> Any:
        raise _refuse("Symlinks are refused.")

    def link(self, oldpath: bytes, newpath: bytes) -> Any:
        raise _refuse("Hard links are refused.")

    def readlink(self, path: bytes) -> Any:
        raise _refuse("Symlinks are refused.")

    async def rename(self, oldpath: bytes, newpath: bytes) -> None:
        await self.posix_rename(oldpath, newpath)

    async def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        """Publish a batch: the only way into inbox/new. Within its draft a file may be renamed."""
        old, new = _parts(oldpath), _parts(newpath)
        if len(old) == len(new) == _FILE and old[:_BATCH] == new[:_BATCH]:
            self._need_draft(oldpath, _FILE)
            Path(os.fsdecode(self.map_path(oldpath))).rename(os.fsdecode(self.map_path(newpath)))
            return
        inside = old[:2] == TMP and new[:2] == NEW and len(old) == len(new) == _BATCH
        whole = inside and old[2].partition(b".")[0] == new[2]
        if not whole or not self._is_own(old[2]):
            raise _refuse("Only inbox/tmp/<batch>.<worker> can be renamed, to inbox/new/<batch>.")
        source = Path(os.fsdecode(self.map_path(oldpath)))
        target = Path(os.fsdecode(self.map_path(newpath)))
        if target.exists():
            raise asyncssh.SFTPFailure("This batch is there already.")
        await asyncio.to_thread(_sync_batch, source)
        source.rename(target)
        kind = "job" if target.name.startswith(JOB_FOLDER) else "batch"
        with bound(worker=self._worker, **{kind: target.name.removeprefix(JOB_FOLDER)}):
            log.info("The delivery is whole in the inbox")


def _sync_batch(folder: Path) -> None:
    """Force the files to disk: what is visible must be whole even after a power cut."""
    for path in [*folder.iterdir(), folder]:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
