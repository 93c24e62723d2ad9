"""Loaded releases. The only importer of `models_core`, and only when work has come:
torch must be imported in the pool's child process, never before the fork.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from generator_worker.fetching import FetchError, note_use

if TYPE_CHECKING:
    from models_core.releases import LoadedRelease

RELEASE_FILE = "release.json"


class UnknownRelease(LookupError):
    """Neither this worker's release path nor the server has the digest."""


class BrokenRelease(RuntimeError):
    """The release's folder is here but cannot be used."""


class Engine:
    """Opens releases by digest and keeps the `max_loaded` most recently used in memory.

    `fetch` brings a release that is in none of the folders, or raises FetchError.
    """

    def __init__(
        self,
        releases: Sequence[Path],
        device: str | None = None,
        max_loaded: int = 2,
        fetch: Callable[[str], Path] | None = None,
    ) -> None:
        self._path = tuple(releases)
        self._fetch = fetch
        self._device = device
        self._max_loaded = max_loaded
        self._loaded: OrderedDict[str, LoadedRelease] = OrderedDict()
        # The warm-up thread and the first order meet here.
        self._lock = threading.RLock()

    @property
    def loaded(self) -> tuple[str, ...]:
        return tuple(self._loaded)

    def release(self, digest: str) -> LoadedRelease:
        with self._lock:
            if digest not in self._loaded:
                folder = self.find(digest)
                while len(self._loaded) >= self._max_loaded:
                    self._unload()
                self._loaded[digest] = _open(folder, self._device)
                note_use(folder)
            self._loaded.move_to_end(digest)
            return self._loaded[digest]

    def find(self, digest: str) -> Path:
        """The folder of a release. Looks at the disk each time: releases come while we run."""
        for folder in self._folders():
            if sha256((folder / RELEASE_FILE).read_bytes()).hexdigest() == digest:
                return folder
        places = ", ".join(str(path) for path in self._path)
        unknown = f"This worker does not have release {digest[:12]}…; it looked in {places}."
        if self._fetch is None:
            raise UnknownRelease(f"{unknown} STYLEDIFFUSER_RELEASES names them.")
        try:
            return self._fetch(digest)
        except FetchError as error:
            raise UnknownRelease(f"{unknown} It could not be fetched: {error}.") from error

    def warm_up(self) -> None:
        """Import the model code ahead of the first order; open the release if there is just one."""
        with self._lock:
            import models_core.releases  # noqa: F401

            folders = list(self._folders())
            if len(folders) == 1:
                self.release(sha256((folders[0] / RELEASE_FILE).read_bytes()).hexdigest())

    def _folders(self) -> Iterator[Path]:
        for path in self._path:
            if (path / RELEASE_FILE).is_file():
                yield path
            elif path.is_dir():
                yield from sorted(child.parent for child in path.glob(f"*/{RELEASE_FILE}"))

    def _unload(self) -> None:
        self._loaded.popitem(last=False)
        gc.collect()
        if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()


def _open(folder: Path, device: str | None) -> LoadedRelease:
    from models_core.releases import ReleaseError, open_release

    try:
        return open_release(folder, device)
    except ReleaseError as error:
        raise BrokenRelease(f"Release in {folder}: {error}") from error


def device_in_use() -> tuple[str, int]:
    """(name, bytes of memory) of the GPU, or of this host where there is none. Imports torch."""
    import torch

    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        return properties.name, properties.total_memory
    return "cpu", os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
