"""Releases fetched from the server, by digest over SFTP, into a cache on this worker's disk.

At the server `checkpoints/<digest>` is the release.json whose SHA-256 the digest is, and each file
that it names lies there under its own digest. In the cache a release is an ordinary folder,
visible once it is whole; until then it is a draft whose files are gone on with where they stopped.

    <cache>/<digest>/     release.json and all it names
    <cache>/.<digest>/    the draft
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import paramiko
from pydantic import ValidationError

from generator_worker.config import Config
from generator_worker.contract import ReleaseComponent, ReleaseManifest
from generator_worker.delivery import DeliveryError, explain, session

CHECKPOINTS = PurePosixPath("checkpoints")
RELEASE_FILE = "release.json"
MAX_RELEASE_FILE = 4 * 2**20
PIECE = 2**20
REQUESTS = 64  # of 32 KiB each on their way at once
MIB = 2**20
log = logging.getLogger(__name__)


PAUSES = (1.0, 5.0, 15.0)
"""Seconds before a cut link is tried again; where bytes came meanwhile, from the first on."""

Tell = Callable[[str], None]


def silent(note: str) -> None:
    """Nobody asked."""


class FetchError(Exception):
    """The release did not come; the message says why and what to do."""

    def __init__(self, message: str, final: bool = False) -> None:
        super().__init__(message)
        self.final = final
        """The server has nothing to give: asking again changes nothing."""


class _Cut(FetchError):
    """The link broke; what came is kept."""


@dataclass
class _Progress:
    """How much of a release is here, told in whole MiB."""

    of: int
    tell: Tell
    fetched: int = 0
    here: int = 0

    def add(self, size: int, fetched: bool) -> None:
        self.here += size
        self.fetched += size if fetched else 0
        self.tell(f"fetching {self.here // MIB} of {max(self.of // MIB, 1)} MiB")


class Cache:
    """The releases fetched so far, and the way to more. Not for two threads at once."""

    def __init__(self, config: Config, count: Callable[[int], None] = lambda size: None) -> None:
        self._config = config
        self._count = count
        """Hears how many bytes came over the network."""

    def fetch(self, digest: str, tell: Tell = silent) -> Path:
        """The folder of a release that the server has. What was fetched before is not fetched
        again, and a link that is cut is tried again. Raises FetchError; safe to repeat."""
        whole = self._config.release_cache / digest
        if whole.is_dir() and not _is(whole / RELEASE_FILE, digest):
            _set_aside(whole, _rotten(whole))
        pauses = iter(PAUSES)
        while not whole.is_dir():
            before = self._draft_bytes(digest)
            try:
                self._try(digest, tell)
            except _Cut as cut:
                if self._draft_bytes(digest) > before:
                    pauses = iter(PAUSES)
                pause = next(pauses, None)
                if pause is None:
                    raise
                log.warning("Release %s: %s Going on in %.0f s", digest[:12], cut, pause)
                time.sleep(pause)
        return whole

    def _try(self, digest: str, tell: Tell) -> None:
        config = self._config
        whole, draft = config.release_cache / digest, config.release_cache / f".{digest}"
        try:
            draft.mkdir(parents=True, exist_ok=True)
            with session(config) as sftp:
                data, manifest = _manifest(sftp, digest)
                _make_room(config, manifest, digest)
                progress = _Progress(sum(part.bytes for part in manifest.components), tell)
                try:
                    for component in manifest.components:
                        _bring(sftp, config.release_cache, draft, component, progress)
                finally:
                    self._count(progress.fetched)
            (draft / RELEASE_FILE).write_bytes(data)
            draft.rename(whole)
        except FileNotFoundError as error:
            missing = "the server does not have it: `manage.py load_release` there"
            raise FetchError(missing, final=True) from error
        except DeliveryError as error:
            raise FetchError(str(error)) from error
        except (OSError, EOFError, paramiko.SSHException) as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise FetchError(f"the disk of {draft} is full") from error
            raise _Cut(explain(config, error)) from error
        log.info("Fetched release %s", digest[:12])

    def mend(self, folder: Path, tell: Tell = silent) -> bool:
        """Throw away the files of a cached release that have rotted, and fetch them again. False
        where there is nothing to mend: the folder is not ours, or each file is what it should be.
        """
        ours = folder.parent == self._config.release_cache
        if not ours or not (rotten := _rotten(folder)):
            return False
        _set_aside(folder, rotten)
        self.fetch(folder.name, tell)
        return True

    def _draft_bytes(self, digest: str) -> int:
        return _bytes([self._config.release_cache / f".{digest}"])


def _set_aside(folder: Path, rotten: list[Path]) -> None:
    """Make a draft of a release, without the files that have rotted."""
    log.warning("Fetching again what has rotted: %s", ", ".join(str(path) for path in rotten))
    draft = folder.with_name(f".{folder.name}")
    shutil.rmtree(draft, ignore_errors=True)
    folder.rename(draft)
    for path in rotten:
        (draft / path.relative_to(folder)).unlink(missing_ok=True)


def _rotten(folder: Path) -> list[Path]:
    """Files of a cached release that are missing, extra or not what their digests say."""
    try:
        data = (folder / RELEASE_FILE).read_bytes()
        manifest = ReleaseManifest.model_validate_json(data)
    except (OSError, ValidationError):
        return [folder / RELEASE_FILE]
    if hashlib.sha256(data).hexdigest() != folder.name:
        return [folder / RELEASE_FILE]
    wanted = {folder / part.file: part.sha256 for part in manifest.components}
    found = {path for path in folder.rglob("*") if path.is_file() or path.is_symlink()}
    bad = [path for path in found if path not in wanted and path.name != RELEASE_FILE]
    return bad + [path for path, digest in wanted.items() if not _is(path, digest)]


def _is(path: Path, digest: str) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except OSError:
        return False


def note_use(folder: Path) -> None:
    """The cache, whose folders are named by digests, drops what was not used for longest."""
    if len(folder.name) == 64:
        with contextlib.suppress(OSError):
            os.utime(folder)


def _manifest(sftp: paramiko.SFTPClient, digest: str) -> tuple[bytes, ReleaseManifest]:
    with sftp.open(str(CHECKPOINTS / digest), "rb") as file:
        data = file.read(MAX_RELEASE_FILE + 1)
    if hashlib.sha256(data).hexdigest() != digest:
        raise FetchError("what the server has under its digest is another file")
    try:
        manifest = ReleaseManifest.model_validate_json(data)
    except ValidationError as error:
        raise FetchError("its release.json is not of a kind that this worker knows") from error
    for component in manifest.components:
        place = PurePosixPath(component.file)
        if place.is_absolute() or ".." in place.parts or component.file == RELEASE_FILE:
            raise FetchError(f"it names the file {component.file!r}, which leaves its folder")
    return data, manifest


def _bring(
    sftp: paramiko.SFTPClient,
    cache: Path,
    draft: Path,
    component: ReleaseComponent,
    progress: _Progress,
) -> None:
    """One file of the draft: kept, linked from another release, or fetched from where it stops."""
    path = draft / component.file
    path.parent.mkdir(parents=True, exist_ok=True)
    there = path.stat().st_size if path.is_file() else 0
    if there == 0 and (same := _cached(cache, component)) is not None:
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not every file system can
            os.link(same, path)
    if there > component.bytes:
        path.unlink()
    digest = hashlib.sha256()
    with path.open("ab+") as file:
        file.seek(0)
        while piece := file.read(PIECE):
            digest.update(piece)
            progress.add(len(piece), fetched=False)
        for piece in _rest(sftp, component, file.tell()):
            file.write(piece)
            digest.update(piece)
            progress.add(len(piece), fetched=True)
        file.flush()
        os.fsync(file.fileno())
    if digest.hexdigest() != component.sha256:
        path.unlink()
        raise FetchError(f"{component.file} came damaged; the next try fetches it anew")


def _rest(sftp: paramiko.SFTPClient, component: ReleaseComponent, at: int) -> Iterator[bytes]:
    if at >= component.bytes:
        return
    with sftp.open(str(CHECKPOINTS / component.sha256), "rb") as remote:
        size = remote.stat().st_size or 0
        if size != component.bytes:
            raise FetchError(f"{component.file} has {size} bytes at the server: {component.bytes}?")
        remote.seek(at)
        remote.prefetch(size, max_concurrent_requests=REQUESTS)
        while at < size and (piece := remote.read(min(PIECE, size - at))):
            at += len(piece)
            yield piece


def _cached(cache: Path, component: ReleaseComponent) -> Path | None:
    """The same file, and whole, in another release of the cache."""
    for path in cache.glob(f"[!.]*/{RELEASE_FILE}"):
        with contextlib.suppress(OSError, ValidationError):
            manifest = ReleaseManifest.model_validate_json(path.read_bytes())
            for other in manifest.components:
                same = path.parent / other.file
                if other.sha256 == component.sha256 and _is(same, other.sha256):
                    return same
    return None


def _make_room(config: Config, manifest: ReleaseManifest, digest: str) -> None:
    """Drop the releases not used for longest until this one fits into the limit."""
    limit = config.release_cache_mib * MIB
    needed = sum(component.bytes for component in manifest.components)
    if needed > limit:
        raise FetchError(
            f"it has {needed // MIB} MiB, and STYLEDIFFUSER_RELEASE_CACHE_MIB allows {limit // MIB}"
        )
    others = [folder for folder in config.release_cache.glob("*") if folder.name != f".{digest}"]
    others.sort(key=lambda folder: folder.stat().st_mtime, reverse=True)
    while others and needed + _bytes(others) > limit:
        dropped = others.pop()
        log.info("Dropping release %s from the cache", dropped.name)
        shutil.rmtree(dropped, ignore_errors=True)
    free = shutil.disk_usage(config.release_cache).free + _bytes(
        [config.release_cache / f".{digest}"]
    )
    if needed > free:
        raise FetchError(f"it has {needed // MIB} MiB, and this disk has {free // MIB} MiB left")


def _bytes(folders: list[Path]) -> int:
    """What the folders' files take; what several link to is counted once."""
    sizes: dict[tuple[int, int], int] = {}
    for folder in folders:
        for path in folder.rglob("*"):
            with contextlib.suppress(OSError):
                found = path.lstat()
                if stat.S_ISREG(found.st_mode):
                    sizes[found.st_dev, found.st_ino] = found.st_size
    return sum(sizes.values())
