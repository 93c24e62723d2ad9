"""Signs of life: how far an order or a job is, told to the server about once a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EVERY_SECONDS = 1.0
QUIET_SECONDS = 10.0
"""What takes long without a word of its own is told again after this."""


def _for_good() -> None:
    """Nobody calls it off."""


class Signs:
    """`tell` gets (fraction, note); `wanted` raises where the work is not wanted any more."""

    def __init__(
        self, tell: Callable[[float, str], None], wanted: Callable[[], None] = _for_good
    ) -> None:
        self._tell = tell
        self._wanted = wanted
        self._next = 0.0
        self._last = (0.0, "")

    def __call__(self, fraction: float, note: str) -> None:
        self._wanted()
        self._last = (fraction, note)
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + EVERY_SECONDS
            self._tell(fraction, note)

    @contextmanager
    def kept_up(self) -> Iterator[None]:
        """While something that has no steps to tell of goes on, such as loading a release."""
        over = threading.Event()

        def repeat() -> None:
            while not over.wait(QUIET_SECONDS):
                self._tell(*self._last)

        thread = threading.Thread(target=repeat, name="signs of life", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
