"""The few lines the demo prints."""

from __future__ import annotations

import sys
from typing import TextIO

WIDTH = 32


class Console:
    """Writes steps and one progress bar; a terminal that is gone stops nothing."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._terminal = self._out.isatty()
        self._bar = ""

    def say(self, text: str = "") -> None:
        if self._bar and self._terminal:
            self._write("\n")
        self._bar = ""
        self._write(f"{text}\n")

    def step(self, what: str, outcome: str) -> None:
        self.say(f"  {what:<12} {outcome}")

    def bar(self, what: str, fraction: float, note: str) -> None:
        """Redrawn in place on a terminal; elsewhere a line for each new note."""
        done = round(WIDTH * min(max(fraction, 0.0), 1.0))
        line = f"  {what:<12} [{'#' * done}{'.' * (WIDTH - done)}] {note}"
        if line == self._bar:
            return
        self._write(f"\r{line:<{len(self._bar)}}" if self._terminal else f"{line}\n")
        self._bar = line

    def _write(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except (OSError, ValueError):
            pass
