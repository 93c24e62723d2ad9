"""Loaded releases. They bring the model code, and that only when work has come: torch must be
imported in the pool's child process, never before the fork.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from generator_worker import memory
from generator_worker.drawing import Painter
from generator_worker.fetching import FetchError, Tell, note_use, silent
from generator_worker.refusals import BrokenRelease, NotFetched, UnknownRelease

if TYPE_CHECKING:
    from models_core.releases import LoadedRelease

log = logging.getLogger(__name__)

RELEASE_FILE = "release.json"


class Source(Protocol):
    """Where releases come from that are in none of the folders: `fetching.Cache`."""

    def fetch(self, digest: str, tell: Tell = silent) -> Path: ...
    def mend(self, folder: Path, tell: Tell = silent) -> bool: ...


class Engine:
    """Opens releases by digest and keeps the most recently used in memory, as many as fit into the
    budget (bytes of the GPU's memory, or of this process where there is none)."""

    def __init__(
        self,
        releases: Sequence[Path],
        device: str | None = None,
        budget: int | None = None,
        source: Source | None = None,
    ) -> None:
        self._path = tuple(releases)
        self._source = source
        self._device = device
        self._budget = budget
        self._loaded: OrderedDict[str, Painter] = OrderedDict()
        self._costs: dict[str, int] = {}
        """What loading each release took, measured."""
        # The warm-up thread and the first order meet here.
        self._lock = threading.RLock()

    @property
    def loaded(self) -> tuple[str, ...]:
        return tuple(self._loaded)

    def release(self, digest: str, tell: Tell = silent) -> LoadedRelease:
        return self.painter(digest, tell).release

    def painter(self, digest: str, tell: Tell = silent) -> Painter:
        """The release at work, loaded and fetched where need be; `tell` hears what takes long."""
        with self._lock:
            if digest not in self._loaded:
                self._load(digest, tell)
            self._loaded.move_to_end(digest)
            self.trim()
            return self._loaded[digest]

    def _load(self, digest: str, tell: Tell) -> None:
        folder = self.find(digest, tell)
        self._make_room(self._costs.get(digest, 0))
        tell(f"loading release {digest[:12]}")
        before = memory.in_use(self._device)
        release = self._open_sound(folder, tell)
        self._costs[digest] = max(memory.in_use(self._device) - before, 0)
        self._loaded[digest] = Painter(release, lambda: self._unload_others(digest))
        note_use(folder)

    def _open_sound(self, folder: Path, tell: Tell) -> LoadedRelease:
        """Opening verifies every digest. What has rotted in the cache is fetched again, once."""
        try:
            return self._open_somehow(folder)
        except BrokenRelease as error:
            try:
                if self._source is None or not self._source.mend(folder, tell):
                    raise
            except FetchError as failed:
                raise NotFetched(f"{error} It could not be fetched again: {failed}.") from failed
            return self._open_somehow(folder)

    def without(self, digest: str, part: str) -> Painter:
        """The release with a part left out (`models_core.releases.open_release` says how parts are
        called), for a comparison: not kept, and where memory does not hold both, the whole one
        makes room."""
        with self._lock:
            self._make_room(self._costs.get(digest, 0))
            return Painter(self._open_somehow(self.find(digest), (part,)), self._unload_others)

    def _open_somehow(self, folder: Path, leave_out: Collection[str] = ()) -> LoadedRelease:
        """Where memory runs out while loading, the others make room."""
        for _ in range(2):
            try:
                return _open(folder, self._device, leave_out)
            except MemoryError as error:
                said = str(error)
            if not self._unload_others():
                break
        raise BrokenRelease(f"Release in {folder} does not fit into memory: {said}")

    def find(self, digest: str, tell: Tell = silent) -> Path:
        """The folder of a release. Looks at the disk each time: releases come while we run."""
        if (folder := self.here().get(digest)) is not None:
            return folder
        places = ", ".join(str(path) for path in self._path)
        unknown = f"This worker does not have release {digest[:12]}…; it looked in {places}."
        if self._source is None:
            raise UnknownRelease(f"{unknown} STYLEDIFFUSER_RELEASES names them.")
        try:
            return self._source.fetch(digest, tell)
        except FetchError as error:
            kind = UnknownRelease if error.final else NotFetched
            raise kind(f"{unknown} It could not be fetched: {error}.") from error

    def warm_up(self) -> None:
        """Import the model code ahead of the first order; open the release if there is just one."""
        with self._lock:
            import models_core.releases  # noqa: F401

            if len(digests := list(self.here())) == 1:
                self.painter(digests[0])

    def here(self) -> dict[str, Path]:
        """Digest and folder of each release on this worker's disk, the first of equals."""
        found: dict[str, Path] = {}
        for folder in self._folders():
            digest = sha256((folder / RELEASE_FILE).read_bytes()).hexdigest()
            found.setdefault(digest, folder)
        return found

    def trim(self) -> None:
        """Unload what was not used for longest while memory is over the budget; never the last."""
        with self._lock:
            self._make_room(0, keep=1)

    def _make_room(self, needed: int, keep: int = 0) -> None:
        while len(self._loaded) > keep and not self._fits(needed):
            self._unload(next(iter(self._loaded)))

    def _fits(self, needed: int) -> bool:
        budget = self._budget or int(memory.BUDGET * memory.of_device(self._device))
        return memory.in_use(self._device) + needed <= budget

    def _unload_others(self, digest: str = "") -> bool:
        others = [key for key in self._loaded if key != digest]
        for key in others:
            self._unload(key)
        return bool(others)

    def _unload(self, digest: str) -> None:
        log.info("Unloading release %s to make room in memory", digest[:12])
        del self._loaded[digest]
        memory.give_back(self._device)

    def _folders(self) -> Iterator[Path]:
        for path in self._path:
            if (path / RELEASE_FILE).is_file():
                yield path
            elif path.is_dir():
                # Not the drafts of releases that are being fetched, which begin with a dot.
                yield from sorted(child.parent for child in path.glob(f"[!.]*/{RELEASE_FILE}"))


def _open(folder: Path, device: str | None, leave_out: Collection[str] = ()) -> LoadedRelease:
    from models_core.releases import ReleaseError, open_release

    try:
        return open_release(folder, device, leave_out)
    except ReleaseError as error:
        if error.__cause__ is not None and memory.ran_out(error.__cause__):
            raise MemoryError(str(error)) from error
        raise BrokenRelease(f"Release in {folder}: {error}") from error


def device_in_use(device: str | None) -> tuple[str, int]:
    """(name, bytes of memory) of the GPU, or of this host where there is none. Imports torch."""
    import torch

    if memory.is_gpu(device):
        return torch.cuda.get_device_name(device or "cuda"), memory.of_device(device)
    return "cpu", memory.of_device(device)
