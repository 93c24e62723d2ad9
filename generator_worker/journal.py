"""Orders that were begun and not finished, on disk, with how often they were begun.

The count bounds an order that kills its process: the broker alone would hand it out again for
ever. After a crash of the whole worker the journal also says what to take up again, long
before the broker's visibility timeout would.
"""

from __future__ import annotations

import json
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

    def unfinished(self) -> list[GenerateBatch]:
        """Orders a crash cut short, oldest first. What is too old the server has given up."""
        orders = []
        for path in sorted(self._root.glob("*.json"), key=lambda path: path.stat().st_mtime):
            entry = self._read(path)
            if entry is None or time.time() - path.stat().st_mtime > FRESH_SECONDS:
                path.unlink(missing_ok=True)
                continue
            try:
                orders.append(GenerateBatch.read(entry["order"]))
            except ContractError:
                path.unlink(missing_ok=True)  # written by another version
        return orders

    def _path(self, batch_id: UUID) -> Path:
        return self._root / f"{batch_id}.json"

    @staticmethod
    def _read(path: Path) -> dict | None:
        try:
            entry = json.loads(path.read_bytes())
            return {"order": entry["order"], "starts": int(entry["starts"])}
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
