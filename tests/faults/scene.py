"""The stage on which faults are played one after another: a house, its pool, people at the door."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from PIL import Image

from tests.faults.checker import Checker
from tests.faults.fault import Fault, Missing, Outcome
from tests.faults.rig import Rig
from tests.faults.visitors import Crowd, Door, Visitor, Visits

POOL = "toon"
BATCH, MARK = 48, 96
"""Images of an order at most, and in a full buffer."""
AFTER_RUSH = 48
"""So few are left by a rush that one order is due, while visitors still find enough."""
PATIENCE = 4
"""How many times its bar a fault may take before it counts as never mended."""


class Scene:
    """The stage while one fault is on it; `house` holds what outlives the fault."""

    def __init__(self, house: Stage, outcome: Outcome) -> None:
        self.rig, self.door, self.batch_seconds = house.rig, house.door, house.batch_seconds
        self.outcome, self.visits = outcome, Visits()
        self._house = house
        self._clock = time.monotonic()

    def note(self, text: str) -> None:
        self.outcome.notes.append(text)

    def wait(self, what: str, holds: Callable[[], Any], seconds: float = 60) -> None:
        self.rig.wait(what, holds, seconds)

    def level(self, pool: str = POOL) -> int:
        return int(self.rig.clerk("available", pool))

    def batches(self, pool: str = POOL, *states: str) -> list[dict[str, Any]]:
        found = self.rig.clerk("batches", pool)
        return [batch for batch in found if not states or batch["state"] in states]

    def rush(self, leave: int = AFTER_RUSH) -> None:
        """Many visitors at once, so that an order is due."""
        for _ in range(max(0, self.level() - leave)):
            visitor = Visitor(self.door, self.visits)
            while not visitor.ask():
                time.sleep(0.5)

    def mid_batch(self, worker: str = "a") -> dict[str, Any]:
        """A rush; then wait until this worker is in the middle of an order."""
        self.rush()
        found: list[dict[str, Any]] = []

        def drawing() -> bool:
            found[:] = [
                batch
                for batch in self.batches(POOL, "ordered")
                if batch["worker"] == worker and batch["progress_at"] and batch["fraction"] < 0.8
            ]
            return bool(found)

        self.wait(f"worker {worker} at a batch", drawing, 90)
        return found[0]

    def clock(self) -> None:
        """Recovery is counted from here."""
        self._clock = time.monotonic()

    def since(self) -> float:
        return time.monotonic() - self._clock

    def allow(self, seconds: float, words: str) -> None:
        """The bar is known only now."""
        self.outcome.bar, self.outcome.bar_words = seconds, words

    def back(self, also: Callable[[], bool] = lambda: True) -> None:
        """Wait until the buffer is at its mark, and note how long it took."""
        bar = self.outcome.bar
        self.wait("the buffer at its mark", lambda: self.level() >= MARK and also(), PATIENCE * bar)
        self.outcome.recovery = self.since()
        if self.outcome.recovery > bar:
            over = self.outcome.recovery - bar
            self.outcome.complaints.append(f"{over:.1f} s over its time of {bar:.0f} s")

    def set_batch_seconds(self, seconds: float) -> None:
        """T, for the faults to come."""
        self._house.batch_seconds = seconds

    def expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.outcome.complaints.append(otherwise)


class Stage:
    """One house through many faults."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.door = Door(rig.web.getsockname()[1], POOL)
        self.checker = Checker(rig)
        self.batch_seconds = 0.0

    def open(self) -> None:
        self.rig.open()
        sizes = (MARK, MARK, BATCH)
        self.rig.clerk("open_pool", POOL, str(self.rig.bundle), *sizes)
        self.rig.wait("a full buffer", lambda: self.rig.clerk("available", POOL) >= MARK, 180)
        self._plant_decoy()
        self._settle_down()

    def _plant_decoy(self) -> None:
        """A batch as good as any, and awaited; only nobody has renamed it into inbox/new."""
        order = self.rig.clerk("shelve_order", POOL, 1)
        png = plain_png(128)
        manifest = manifest_of(order["id"], order["release"], {"1.png": (png, 1)})
        folder = self.rig.home / "sftp" / "inbox" / "tmp" / f"{order['id']}.a"
        folder.mkdir()
        (folder / "1.png").write_bytes(png)
        (folder / "manifest.json").write_text(json.dumps(manifest))
        self.checker.decoy = order["id"]

    def play(self, fault: Fault) -> Outcome:
        outcome = Outcome(fault.name, fault.what, fault.bar(self.batch_seconds), fault.bar_words)
        before = self.checker.judge().totals
        crowd, scene = Crowd(self.door), Scene(self, outcome)
        crowd.start()
        try:
            fault.play(scene)
        except Missing as missing:
            outcome.skipped = str(missing)
        except Exception as error:
            outcome.complaints.append(f"{type(error).__name__}: {error}")
        self.rig.heal()
        met = crowd.leave()
        met.add(scene.visits)
        self.checker.served += met.served
        outcome.visits = met
        self._close(outcome)
        verdict = self.checker.judge()
        outcome.totals = verdict.totals.since(before)
        outcome.lost, outcome.doubled = verdict.lost, verdict.doubled
        outcome.complaints += verdict.complaints
        return outcome

    def _close(self, outcome: Outcome) -> None:
        if outcome.visits.refused.get("never served"):
            outcome.complaints.append("a visitor was never served")
        try:
            self._settle_down()
        except AssertionError as error:
            outcome.complaints.append(str(error))
        self.rig.dismiss_extras()

    def _settle_down(self) -> None:
        """Nothing open, nothing spooled, the inbox empty, the buffer full: ready for the next."""
        self.rig.wait("everything settled", self._settled, 150)

    def _settled(self) -> bool:
        open_states = {"ordered", "overdue", "delivered"}
        return (
            not self.rig.ledger.spooled()
            and not self.rig.ledger.in_inbox()
            and not any(batch["state"] in open_states for batch in self.rig.clerk("batches"))
            and self.rig.clerk("available", POOL) >= MARK
        )


def manifest_of(batch: str, release: str, files: dict[str, tuple[bytes, int]]) -> dict[str, Any]:
    """A manifest as a worker would write it, `files` being name → (bytes, seed)."""
    return {
        "contract": 1, "batch_id": batch, "release_digest": release, "worker": "a",
        "software": "the rig", "created": datetime.now(UTC).isoformat(), "params": {},
        "images": [
            {"file": name, "sha256": sha256(png).hexdigest(), "bytes": len(png), "width": 128,
             "height": 128, "seed": seed, "score": 0.9, "safety": 0.0, "tags": []}
            for name, (png, seed) in files.items()
        ],
    }  # fmt: skip


def plain_png(side: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side), (200, 80, 120)).save(file, "PNG")
    return file.getvalue()
