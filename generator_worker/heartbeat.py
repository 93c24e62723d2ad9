"""The heartbeat: a thread of the main process, so it goes on while a batch is drawn."""

from __future__ import annotations

import logging
import os
import threading
import time
from datetime import UTC, datetime

from generator_worker import disk, gpu, memory
from generator_worker.config import Config, software
from generator_worker.contract import Duty, Finding, Heartbeat, State
from generator_worker.duty import DutyBook
from generator_worker.faulty import FaultyReleases
from generator_worker.ledger import Ledger
from generator_worker.outbox import Outbox
from generator_worker.readiness import Readiness
from generator_worker.reports import Reports
from generator_worker.vitals import Vitals

log = logging.getLogger(__name__)

EVERY_SECONDS = 10.0
LOOK_SECONDS = 1.0
"""How soon news is noticed."""
MIB = 2**20

# No fork while a heartbeat is being sent: the child would inherit locks that nobody opens again.
_sending = threading.Lock()
os.register_at_fork(
    before=_sending.acquire,
    after_in_parent=_sending.release,
    after_in_child=_sending.release,
)


class Pulse(threading.Thread):
    def __init__(
        self,
        config: Config,
        outbox: Outbox,
        reports: Reports,
        readiness: Readiness,
        books: tuple[DutyBook, FaultyReleases, Ledger],
    ) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._config = config
        self._outbox = outbox
        self._reports = reports
        self.readiness = readiness
        self._duty, self._faulty, self._ledger = books
        self._since = datetime.now(UTC)
        self._woken = threading.Event()
        self._stopping = False
        self._told: tuple[object, ...] = ()

    def stop(self) -> None:
        self._stopping = True
        self._woken.set()

    def wake(self) -> None:
        """There is news that should not wait."""
        self._woken.set()

    def run(self) -> None:
        while True:
            self._told = self._news()
            self._send()
            due = time.monotonic() + EVERY_SECONDS
            while time.monotonic() < due and self._news() == self._told:
                if self._woken.wait(LOOK_SECONDS):
                    self._woken.clear()
                    break
            if self._stopping:
                return

    def _news(self) -> tuple[object, ...]:
        """What the server goes by in giving out orders: told at once when it changes."""
        vitals = Vitals.read(self._config.home / "vitals.json")
        faulty = frozenset(fault.release_digest for fault in self._faulty.listed())
        known = vitals.loaded, frozenset(vitals.speeds), bool(vitals.device), bool(vitals.link)
        return self._duty.read(), faulty, *known

    def _send(self) -> None:
        try:
            beat = self.beat()
            with _sending:
                self._reports.heartbeat(beat)
        except Exception:
            log.exception("A heartbeat failed; the next one follows")

    def beat(self) -> Heartbeat:
        vitals, counts = Vitals.read(self._config.home / "vitals.json"), self._ledger.read()
        waiting, free = len(self._outbox.waiting()), disk.free(self._config.home)
        findings = self._findings(vitals, free)
        card = gpu.look(self._config.device)
        return Heartbeat(
            worker=self._config.worker_name,
            software=software(),
            device=vitals.device or "starting",
            memory_bytes=vitals.memory_bytes,
            loaded=vitals.loaded,
            outbox=waiting,
            images_per_minute=vitals.images_per_minute,
            duty=self._duty.read(),
            state=self._state(vitals, findings, waiting),
            findings=findings,
            faulty=self._faulty.listed()[:100],
            speeds=vitals.speeds,
            clock=datetime.now(UTC),
            started=self._since,
            batches=counts.batches,
            images=counts.images,
            failures=counts.failures,
            resident_bytes=memory.resident() + (memory.resident(vitals.pid) if vitals.pid else 0),
            gpu=card.name if card else "",
            gpu_use=card.use if card else None,
            gpu_memory_used_bytes=card.memory_used_bytes if card else None,
            disk_free_bytes=free,
        )

    def _findings(self, vitals: Vitals, free: int) -> tuple[Finding, ...]:
        """What is not well: as found at the start, and what changes meanwhile."""
        found = [finding for finding in self.readiness.findings if finding.level != "ok"]
        if self.readiness.passed and free < self._config.min_free_mib * MIB:
            said = f"{free // MIB} MiB free at {self._config.home}: orders are refused"
            advice = "Make room there, or lower STYLEDIFFUSER_RELEASE_CACHE_MIB."
            found.append(Finding(check="disk", level="failure", detail=said, advice=advice))
        if vitals.trouble:
            found.append(Finding(check="start", level="warning", detail=vitals.trouble))
        if vitals.link:
            found.append(Finding(check="delivery", level="warning", detail=vitals.link))
        return tuple(found[-30:])

    def _state(self, vitals: Vitals, findings: tuple[Finding, ...], waiting: int) -> State:
        if any(finding.level == "failure" for finding in findings):
            return State.REFUSING
        if not self.readiness.passed or not vitals.device or vitals.outlived:
            return State.STARTING
        if vitals.busy:
            return State.BUSY
        if self._duty.read() == Duty.DRAINING and not waiting:
            return State.DRAINED
        return State.IDLE
