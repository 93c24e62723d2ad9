"""The folder workers deliver into, read as what it is: other people's files.

Everything is opened below a folder handle with O_NOFOLLOW, so neither a symlink nor a `..` leads
out, and every file is read once: what was checked is what is used.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from generator_worker.contract import (
    MANIFEST_NAME,
    ContractError,
    JobManifest,
    Manifest,
    ManifestImage,
)

MAX_MANIFEST_BYTES = 2 * 1024 * 1024
MAX_IMAGE_BYTES = 8 * 1024 * 1024
REASON_NAME = "REASON.txt"
AnyManifest = TypeVar("AnyManifest", Manifest, JobManifest)
log = logging.getLogger(__name__)


class Refused(Exception):
    """The delivery is not as agreed; the message is the reason people will read."""


class Vanished(Exception):
    """There is no such delivery (any more)."""


class Busy(Exception):
    """Another process has this delivery in hand."""


def new_folder() -> Path:
    """`inbox/new`: what is visible here is whole."""
    folder: Path = settings.SFTP_ROOT / "inbox" / "new"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def waiting_names() -> list[str]:
    """What lies in `inbox/new`, the oldest first."""
    found: list[tuple[float, str]] = []
    for entry in os.scandir(new_folder()):
        # Another process may take it in while we look.
        with suppress(FileNotFoundError):
            found.append((entry.stat(follow_symlinks=False).st_mtime, entry.name))
    return [name for _, name in sorted(found)]


@dataclass(frozen=True)
class Delivery:
    """One delivered folder, of a batch or a job, locked for this process."""

    name: str
    handle: int

    def read_manifest(self, kind: type[AnyManifest]) -> AnyManifest:
        data = self._read(MANIFEST_NAME, MAX_MANIFEST_BYTES)
        try:
            parsed = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise Refused(f"{MANIFEST_NAME} is not JSON: {error}") from error
        try:
            manifest = kind.read(parsed)
        except ContractError as error:
            raise Refused(str(error)) from error
        if manifest.folder != self.name:
            raise Refused(f"{MANIFEST_NAME} is of {manifest.folder}, not of this folder.")
        return manifest

    def check_names(self, manifest: Manifest | JobManifest) -> None:
        """The folder holds what the manifest lists, each once, and nothing else."""
        listed = [image.file for image in manifest.images]
        if len(set(listed)) < len(listed):
            raise Refused("The manifest lists a file twice.")
        there = set(os.listdir(self.handle)) - {MANIFEST_NAME}  # noqa: PTH208 (a handle)
        if missing := sorted(set(listed) - there):
            raise Refused(f"Listed but missing: {_some(missing)}.")
        if extra := sorted(there - set(listed)):
            raise Refused(f"There but not listed: {_some(extra)}.")

    def read_image(self, image: ManifestImage) -> bytes:
        """The file's bytes, which have the size and digest the manifest gives."""
        data = self._read(image.file, MAX_IMAGE_BYTES)
        if len(data) != image.bytes:
            raise Refused(f"{image.file} has {len(data)} bytes; the manifest says {image.bytes}.")
        if hashlib.sha256(data).hexdigest() != image.sha256:
            raise Refused(f"{image.file} does not have the digest the manifest gives.")
        return data

    def _read(self, name: str, limit: int) -> bytes:
        try:
            # NONBLOCK: opening a planted named pipe must not wait for its other end.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            file = os.open(name, flags, dir_fd=self.handle)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOENT, errno.ENXIO, errno.EACCES):
                raise Refused(f"{name} is missing or is no plain file.") from error
            raise
        with os.fdopen(file, "rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise Refused(f"{name} is no plain file.")
            if status.st_size > limit:
                raise Refused(f"{name} is larger than {limit} bytes.")
            return stream.read(limit + 1)


@contextmanager
def open_delivery(name: UUID | str) -> Iterator[Delivery]:
    """What was delivered under this name (a batch's is its id), locked: the kernel lets go of the
    lock even if we are killed.

    Raises Vanished, Busy, or Refused where it is no folder.
    """
    path = new_folder() / str(name)
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        handle = os.open(path, flags)
    except FileNotFoundError as error:
        raise Vanished from error
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EACCES):
            raise Refused("What was delivered is not a folder that can be read.") from error
        raise
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Busy from error
        if not _is_still(path, handle):
            raise Vanished
        yield Delivery(str(name), handle)
    finally:
        os.close(handle)


def _is_still(path: Path, handle: int) -> bool:
    """Whether the path still leads to the opened folder (its last holder may have removed it)."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def holds(name: UUID | str) -> bool:
    """Whether something of this name lies in the inbox."""
    return os.path.lexists(new_folder() / str(name))


def remove(name: UUID | str) -> None:
    try:
        shutil.rmtree(new_folder() / str(name))
    except FileNotFoundError:
        pass  # somebody else did
    except OSError as error:
        log.warning("Delivery %s cannot be removed from the inbox: %s", name, error)


def quarantine(name: str, reason: str) -> Path | None:
    """Move whatever is called `name` out of the workers' reach, with the reason beside it."""
    stamp = timezone.now().strftime("%Y%m%dT%H%M%S%f")
    place: Path = settings.QUARANTINE_ROOT / f"{stamp}-{name[:80]}"
    place.mkdir(parents=True)
    try:
        (place / REASON_NAME).write_text(f"{reason}\n", encoding="utf-8")
        # A rename where it can be; quarantine may lie on another file system.
        shutil.move(new_folder() / name, place / "delivered", copy_function=_copy_plain)
    except OSError as error:
        shutil.rmtree(place, ignore_errors=True)
        if isinstance(error, FileNotFoundError):
            return None
        raise
    return place


def _copy_plain(source: str, target: str) -> None:
    """Named pipes and the like are left behind: reading one could wait for ever."""
    if stat.S_ISREG(Path(source).lstat().st_mode):
        shutil.copy2(source, target, follow_symlinks=False)


def _some(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
