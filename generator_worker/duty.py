"""What the server last said this worker is for, remembered on its disk."""

from __future__ import annotations

from pathlib import Path

from generator_worker.contract import Duty
from generator_worker.disk import replace


class DutyBook:
    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Duty:
        """A worker that was told nothing works."""
        try:
            return Duty(self._path.read_text())
        except (FileNotFoundError, ValueError):
            return Duty.WORKING

    def write(self, duty: Duty) -> None:
        replace(self._path, duty.encode())
