"""Processes that work on a build's items, started when first needed and shared by all stages."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Self, TypeVar

R = TypeVar("R")
CHUNK = 8


class Workers:
    """`with Workers(4) as workers: workers.map(f, items)`; one process is this one itself."""

    def __init__(self, processes: int) -> None:
        self.processes = processes
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def map(self, function: Callable[[Any], R], items: Sequence[Any]) -> Iterator[R]:
        """Results in order. With several processes the function must be picklable."""
        if self.processes <= 1 or len(items) <= CHUNK:
            return map(function, items)
        if self._pool is None:
            # Spawned, not forked: where this process has drawn already, a fork inherits libvips
            # without its threads and waits for them for ever.
            fresh = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.processes, fresh, _start)
        return self._pool.map(function, items, chunksize=CHUNK)


def _start() -> None:
    # Ctrl-C reaches the whole group; the building process decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A process an item: threads of their own would only get in each other's way.
    os.environ["OMP_NUM_THREADS"] = "1"
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this worker when the build was killed: the pool's pipes alone would keep it for ever."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
