"""One request's bytes on their way into an upload's file.

What is acknowledged is on the disk, and never written to again: a block is written and synced
under the file's lock, and then the row's offset moves. A request whose place was taken by a newer
one sees that before its next block, so a connection that died half-way hinders nobody.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from . import digests
from .models import Upload
from .problems import BeyondLength, ChecksumMismatch, DiskFull, WrongOffset

BLOCK = 2**20  # bytes held in memory for each request
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Read = Callable[[int], bytes]
"""Up to so many bytes; none at the end. OSError where the connection broke."""


@dataclass(frozen=True)
class Checksum:
    """What the client says of this request's bytes."""

    algorithm: str
    digest: bytes


CHECKSUMS = ("sha1", "sha256")


def receive(upload: Upload, offset: int, size: int, read: Read, checksum: Checksum | None) -> None:
    """Take in `size` bytes at `offset`. With a checksum all of them or none; without one, what
    came before the connection broke or the disk was full stays."""
    if offset + size > upload.length:
        raise BeyondLength(
            f"{size} bytes at {offset} would go beyond the upload's {upload.length}."
        )
    writer = uuid.uuid4()
    place = Upload.objects.filter(pk=upload.pk, offset=offset)
    if not place.update(writer=writer, touched_at=timezone.now()):
        raise wrong_offset(upload)
    fd = os.open(upload.checkpoint.original, os.O_RDWR | os.O_NOFOLLOW)
    try:
        _Receiver(upload, writer, fd, offset).take(size, read, checksum)
    finally:
        os.close(fd)


def wrong_offset(upload: Upload) -> WrongOffset:
    upload.refresh_from_db(fields=["offset"])
    return WrongOffset(
        f"The upload stands at {upload.offset}. Ask for its offset with HEAD and go on from there."
    )


class _Receiver:
    def __init__(self, upload: Upload, writer: uuid.UUID, fd: int, offset: int) -> None:
        self.upload, self.writer, self.fd = upload, writer, fd
        self.acknowledged = self.end = offset

    def take(self, size: int, read: Read, checksum: Checksum | None) -> None:
        running = digests.resume(self.upload.pk, self.fd, self.acknowledged)
        digests.keep(self.upload.pk, self.acknowledged, running.copy())
        own = hashlib.new(checksum.algorithm, usedforsecurity=False) if checksum else None
        try:
            for block in _blocks(read, size):
                self._write(block)
                running.update(block)
                if own is not None:
                    own.update(block)
                else:
                    self._acknowledge(running)
            if checksum is not None and own is not None:
                self._compare(own.digest(), checksum, size)
                self._acknowledge(running)
        finally:
            self._cut_unacknowledged()

    def _write(self, block: bytes) -> None:
        with _locked(self.fd):
            self._need_place()
            try:
                _write_all(self.fd, block, self.end)
                os.fdatasync(self.fd)
            except OSError as error:
                if error.errno in FULL:
                    raise DiskFull(
                        "The server's disk is full. What has arrived is kept: make room, then "
                        "resume."
                    ) from error
                raise
            self.end += len(block)

    def _acknowledge(self, running: Any) -> None:
        with _locked(self.fd):
            moved = self._mine().update(offset=self.end, touched_at=timezone.now())
            if not moved:
                raise wrong_offset(self.upload)
        self.acknowledged = self.end
        digests.keep(self.upload.pk, self.end, running.copy())

    def _compare(self, digest: bytes, checksum: Checksum, size: int) -> None:
        arrived = self.end - self.acknowledged
        if arrived < size:
            raise ChecksumMismatch(
                f"Only {arrived} of {size} bytes arrived, so none were taken. Send them again."
            )
        if digest != checksum.digest:
            raise ChecksumMismatch(
                f"The {size} bytes do not have the {checksum.algorithm} that was sent with them, "
                "so none were taken. Send them again."
            )

    def _mine(self) -> Any:
        return Upload.objects.filter(
            pk=self.upload.pk, writer=self.writer, offset=self.acknowledged
        )

    def _need_place(self) -> None:
        if not self._mine().exists():
            raise WrongOffset("The upload was ended, or another request has taken over.")

    def _cut_unacknowledged(self) -> None:
        with _locked(self.fd):
            if os.fstat(self.fd).st_size > self.acknowledged and self._mine().exists():
                os.ftruncate(self.fd, self.acknowledged)


def _blocks(read: Read, size: int) -> Iterator[bytes]:
    """The body in blocks. A broken connection ends it: the client will ask how far it came."""
    while size > 0:
        try:
            block = read(min(BLOCK, size))
        except OSError:
            return
        if not block:
            return
        size -= len(block)
        yield block


def _write_all(fd: int, block: bytes, at: int) -> None:
    view = memoryview(block)
    while view:
        written = os.pwrite(fd, view, at)
        view, at = view[written:], at + written


@contextmanager
def _locked(fd: int) -> Iterator[None]:
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(fd, fcntl.LOCK_UN)
