"""Keeps the demo's processes alive, and ends every one of them when told to."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

from .process import Process, Service

GRACE_SECONDS = 8.0
LOOK_SECONDS = 0.5

Say = Callable[[str], None]


class Supervisor:
    def __init__(self, say: Say) -> None:
        self._say = say
        self._processes: list[Process] = []
        self._due: dict[Process, float] = {}
        self._stop = threading.Event()
        self._hurry = False

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    def heed_signals(self) -> None:
        """Ctrl-C, `kill` and a closed terminal all mean: stop, orderly."""
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, self._on_signal)

    def start(self, service: Service) -> None:
        process = Process(service)
        self._processes.append(process)
        process.start()

    def rest(self, seconds: float = LOOK_SECONDS) -> bool:
        """Sleep a little, then start again what has died. False once the demo is to end."""
        if self._stop.wait(seconds):
            return False
        for process in self._processes:
            self._look_after(process)
        return True

    def _look_after(self, process: Process) -> None:
        name = process.service.name
        if (code := process.death()) is not None:
            pause = process.pause()
            self._due[process] = time.monotonic() + pause
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            self._say(
                f"! {name} stopped ({how}); starting it again in {pause:.0f} s. "
                f"Its log: {process.service.log}"
            )
        elif process in self._due and time.monotonic() >= self._due[process]:
            del self._due[process]
            process.start()

    def end(self) -> None:
        """Ask all to stop, the broker last; then make sure that nothing is left."""
        self._stop.set()
        for last in (False, True):
            group = [process for process in self._processes if process.service.last is last]
            for process in group:
                process.end()
            deadline = time.monotonic() + GRACE_SECONDS
            while not self._hurry and time.monotonic() < deadline:
                if all(process.ended(time.monotonic()) for process in group):
                    break
                time.sleep(0.05)
            for process in group:
                process.sweep()

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        self._hurry = self._stop.is_set() and signum == signal.SIGINT
        self._stop.set()
