"""Orders that were begun and not finished, on disk, with how often they were begun.

The count bounds an order that kills its process: the broker alone would hand it out again for
ever. After a crash of the whole worker the journal also says what to take up again, long
before the broker's visibility timeout would. An orderly stop is no crash: a mark says that the
order it cut short has killed nothing, and the next start takes that order's start back.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from uuid import UUID

from generator_worker.contract import ContractError, GenerateBatch
from generator_worker.disk import replace

MAX_STARTS = 3
FRESH_SECONDS = 3600.0


class Journal:
    def __init__(self, root: Path) -> None:
        self._root = root
        self._stopped = root / "stopped"
        root.mkdir(parents=True, exist_ok=True)

    def begin(self, order: GenerateBatch) -> int:
        """Note a start and return how many there were, this one included."""
        path = self._path(order.batch_id)
        entry = self._read(path)
        starts = entry["starts"] + 1 if entry else 1
        replace(path, json.dumps({"order": order.wire(), "starts": starts}).encode())
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
            if entry := self._read(path):
                begun = path.stat().st_mtime
                replace(path, json.dumps({**entry, "starts": entry["starts"] - 1}).encode())
                os.utime(path, (begun, begun))  # the order is as old as it was
        self._stopped.unlink()

    def unfinished(self) -> list[GenerateBatch]:
        """Orders a crash cut short, oldest first. What is too old the server has given up."""
        orders = []
        for path in self._by_age():
            entry = self._read(path)
            if entry is None or time.time() - path.stat().st_mtime > FRESH_SECONDS:
                path.unlink(missing_ok=True)
                continue
            try:
                orders.append(GenerateBatch.read(entry["order"]))
            except ContractError:
                path.unlink(missing_ok=True)  # written by another version
        return orders

    def _by_age(self) -> list[Path]:
        return sorted(self._root.glob("*.json"), key=lambda path: path.stat().st_mtime)

    def _path(self, batch_id: UUID) -> Path:
        return self._root / f"{batch_id}.json"

    @staticmethod
    def _read(path: Path) -> dict | None:
        try:
            entry = json.loads(path.read_bytes())
            return {"order": entry["order"], "starts": int(entry["starts"])}
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
