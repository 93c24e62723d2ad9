"""The heartbeat: a thread of the main process, so it goes on while a batch is drawn."""

from __future__ import annotations

import logging
import threading

from generator_worker.config import Config, software
from generator_worker.contract import Heartbeat
from generator_worker.outbox import Outbox
from generator_worker.reports import Reports
from generator_worker.vitals import Vitals

log = logging.getLogger(__name__)

EVERY_SECONDS = 10.0


class Pulse(threading.Thread):
    def __init__(self, config: Config, outbox: Outbox, reports: Reports) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._config = config
        self._outbox = outbox
        self._reports = reports
        self._stopped = threading.Event()

    def stop(self) -> None:
        self._stopped.set()

    def run(self) -> None:
        while True:
            try:
                self._reports.heartbeat(self.beat())
            except Exception:
                log.exception("A heartbeat failed; the next one follows")
            if self._stopped.wait(EVERY_SECONDS):
                return

    def beat(self) -> Heartbeat:
        vitals = Vitals.read(self._config.home / "vitals.json")
        return Heartbeat(
            worker=self._config.worker_name,
            software=software(),
            device=vitals.device,
            memory_bytes=vitals.memory_bytes,
            loaded=vitals.loaded,
            outbox=len(self._outbox.waiting()),
            images_per_minute=vitals.images_per_minute,
        )
