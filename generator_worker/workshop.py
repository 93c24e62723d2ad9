"""What the pool's child process holds: made once, after the fork."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from functools import cache, partial
from typing import Any
from uuid import UUID

from generator_worker import batches
from generator_worker.app import app, config, journal, outbox, reports
from generator_worker.contract import BatchReceipt, ContractError, GenerateBatch
from generator_worker.courier import Courier
from generator_worker.engine import Engine, device_in_use
from generator_worker.fetching import fetch
from generator_worker.vitals import Vitals

log = logging.getLogger(__name__)


class ChildProcess:
    def __init__(self) -> None:
        self.reports = reports(app)
        self.outbox = outbox()
        places = (*config.releases, config.release_cache)
        fetching = partial(fetch, config)
        self.engine = Engine(places, config.device, config.max_loaded, fetching)
        self.courier = Courier(config, self.outbox, self.reports)
        self.workshop = batches.Workshop(config, self.engine, self.outbox, journal(), self.reports)
        self._showing = threading.Lock()
        self._vitals_file = config.home / "vitals.json"
        # The speed last measured is a better guess than none.
        self.vitals = Vitals(images_per_minute=Vitals.read(self._vitals_file).images_per_minute)

    def start(self) -> None:
        self._show()
        self.courier.start()
        threading.Thread(target=self._warm_up, name="warm-up", daemon=True).start()

    def generate(self, message: Any) -> None:
        try:
            order = GenerateBatch.read(message)
        except ContractError as error:
            self._refuse_unreadable(message, error)
            return
        with self.courier.drawing():
            made = batches.carry_out(self.workshop, order)
        self.courier.wake()
        if made:
            self._show(images_per_minute=round(60 * made.images / max(made.seconds, 0.001), 2))

    def settle(self, message: Any) -> None:
        receipt = BatchReceipt.read(message)
        if self.outbox.settle(receipt.batch_id):
            log.info("Batch %s is settled", receipt.batch_id)

    def _refuse_unreadable(self, message: Any, error: ContractError) -> None:
        """Tell the server, if the message at least says which batch it is about."""
        try:
            batch_id, attempt = UUID(message["batch_id"]), int(message.get("attempt", 1))
        except (TypeError, KeyError, ValueError, AttributeError):
            log.error("An order nobody can answer: %s", error)
            return
        self.reports.refused(batch_id, max(attempt, 1), str(error))

    def _warm_up(self) -> None:
        try:
            self.engine.warm_up()
            device, memory = device_in_use()
            self._show(device=config.device or device, memory_bytes=memory)
        except Exception:
            # The first order will meet the same fault and report it.
            log.exception("Warm-up failed")

    def _show(self, **changes: Any) -> None:
        with self._showing:  # the warm-up thread shows too
            self.vitals = replace(self.vitals, loaded=self.engine.loaded, **changes)
            self.vitals.write(self._vitals_file)


@cache
def child() -> ChildProcess:
    return ChildProcess()
