"""What the workers made, as seen from beside: the manifests that lay in their spools."""

from __future__ import annotations

import contextlib
import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOOK_EVERY = 0.03
"""A spooled batch is there for an SFTP session, an ingest and a receipt: many times longer."""


@dataclass(frozen=True)
class Made:
    batch: str
    worker: str
    seeds: tuple[int, ...]


class Ledger(threading.Thread):
    def __init__(self, home: Path) -> None:
        super().__init__(name="ledger", daemon=True)
        self._home = home
        self.made: dict[str, Made] = {}
        self.arrived: set[str] = set()
        self._jobs: set[str] = set()
        self._known: set[Path] = set()
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(LOOK_EVERY):
            for manifest in self._home.glob("*/outbox/ready/*/manifest.json"):
                if manifest not in self._known:
                    self._note(manifest)
            with contextlib.suppress(FileNotFoundError):
                new = self._home / "sftp" / "inbox" / "new"
                self.arrived.update(entry.name for entry in new.iterdir())

    def _note(self, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError):  # settled this very moment
            manifest: dict[str, Any] = json.loads(path.read_bytes())
            self._known.add(path)
            if "job_id" in manifest:
                self._jobs.add(str(manifest["job_id"]))
                return
            seeds = tuple(image["seed"] for image in manifest["images"])
            batch = str(manifest["batch_id"])
            self.made[batch] = Made(batch, manifest["worker"], seeds)

    def stop(self) -> None:
        self._done.set()
        if self.is_alive():
            self.join()

    def receipted(self) -> set[str]:
        """Batches of which some worker was told that the server has them."""
        return {mark.name for mark in self._home.glob("*/outbox/settled/*")} - self._jobs

    def receipts_of(self, batch: str) -> int:
        """How many workers were told so of this one."""
        return len(list(self._home.glob(f"*/outbox/settled/{batch}")))

    def spooled(self) -> set[str]:
        return {folder.name for folder in self._home.glob("*/outbox/ready/*")}

    def in_inbox(self) -> set[str]:
        return {entry.name for entry in (self._home / "sftp" / "inbox" / "new").iterdir()}
