"""How often each order was begun and not ended, on disk.

The count bounds an order that kills its process: the broker alone would hand it out again for
ever. An orderly stop is no crash: a mark says that the order it cut short has killed nothing, and
the next start takes that order's start back.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from uuid import UUID

from generator_worker.disk import replace

MAX_STARTS = 3
FRESH_SECONDS = 3600.0


class Journal:
    def __init__(self, root: Path) -> None:
        self._root = root
        self._stopped = root / "stopped"
        root.mkdir(parents=True, exist_ok=True)

    def begin(self, batch_id: UUID) -> int:
        """Note a start and return how many there were, this one included."""
        starts = self.starts(batch_id) + 1
        path = self._path(batch_id)
        replace(path, json.dumps({"starts": starts}).encode())
        return starts

    def end(self, batch_id: UUID) -> None:
        self._path(batch_id).unlink(missing_ok=True)

    def note_stop(self) -> None:
        """An orderly stop begins. No more than a mark: the order may be ending this moment."""
        self._stopped.touch()

    def forgive_stop(self) -> None:
        """Before any order of this run: after an orderly stop, take the last start back."""
        if not self._stopped.exists():
            return
        for path in self._by_age()[-1:]:
            if starts := self._read(path):
                begun = path.stat().st_mtime
                replace(path, json.dumps({"starts": starts - 1}).encode())
                os.utime(path, (begun, begun))  # the order is as old as it was
        self._stopped.unlink()

    def starts(self, batch_id: UUID) -> int:
        return self._read(self._path(batch_id)) or 0

    def forget_old(self) -> None:
        """Orders that never came back: what is too old the server has given up."""
        for path in self._by_age():
            if time.time() - path.stat().st_mtime > FRESH_SECONDS or self._read(path) is None:
                path.unlink(missing_ok=True)

    def _by_age(self) -> list[Path]:
        return sorted(self._root.glob("*.json"), key=lambda path: path.stat().st_mtime)

    def _path(self, batch_id: UUID) -> Path:
        return self._root / f"{batch_id}.json"

    @staticmethod
    def _read(path: Path) -> int | None:
        try:
            return int(json.loads(path.read_bytes())["starts"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
