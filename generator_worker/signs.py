"""Signs of life: how far an order is, told to the server about once a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from generator_worker.reports import Reports

EVERY_SECONDS = 1.0
QUIET_SECONDS = 10.0
"""What takes long without a word of its own is told again after this."""


class Signs:
    def __init__(self, reports: Reports, batch_id: UUID) -> None:
        self._reports = reports
        self._batch_id = batch_id
        self._next = 0.0
        self._last = (0.0, "")

    def __call__(self, fraction: float, note: str) -> None:
        self._last = (fraction, note)
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + EVERY_SECONDS
            self._reports.progress(self._batch_id, fraction, note)

    @contextmanager
    def kept_up(self) -> Iterator[None]:
        """While something that has no steps to tell of goes on, such as loading a release."""
        over = threading.Event()

        def repeat() -> None:
            while not over.wait(QUIET_SECONDS):
                self(*self._last)

        thread = threading.Thread(target=repeat, name="signs of life", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
