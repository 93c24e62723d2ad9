"""What the pool's child process holds: made once, after the fork."""

from __future__ import annotations

import logging
import os
import threading
from functools import cache
from typing import Any
from uuid import UUID

from generator_worker import batches, jobs, memory
from generator_worker.app import app, config, duty, faulty, journal, ledger, outbox, reports
from generator_worker.cancelling import Cancellations
from generator_worker.contract import (
    BatchReceipt,
    ContractError,
    ForgiveRelease,
    GenerateBatch,
    JobReceipt,
    PreviewReport,
    RunJob,
    SetDuty,
)
from generator_worker.courier import Courier
from generator_worker.engine import Engine, device_in_use
from generator_worker.fetching import Cache
from generator_worker.refusals import Refusal, Unreadable
from generator_worker.vitals import Vitals
from messaging.logs import bound

log = logging.getLogger(__name__)

REMEMBERED_SPEEDS = 50


class ChildProcess:
    def __init__(self) -> None:
        self.reports = reports(app)
        self.outbox = outbox()
        self.faulty, self.duty, self.ledger = faulty(), duty(), ledger()
        places = (*config.releases, config.release_cache)
        source = Cache(config, self.ledger.fetched)
        self.engine = Engine(places, config.device, config.memory_mib * 2**20 or None, source)
        self.courier = Courier(config, self.outbox, self.reports, self.ledger, self._show_link)
        self.workshop = batches.Workshop(
            config,
            self.engine,
            self.outbox,
            journal(),
            self.reports,
            self.faulty,
            self.duty,
            self.ledger,
        )
        self.cancellations = Cancellations(app, config.worker_name)
        self._showing = threading.Lock()
        self._vitals_file = config.home / "vitals.json"
        # What the child before this one has measured still holds.
        before = Vitals.read(self._vitals_file)
        self.vitals = before.model_copy(update={"pid": os.getpid(), "busy": False, "trouble": ""})

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
        self._show(busy=True)
        with self.courier.drawing(), bound(batch=order.batch_id, release=order.release_digest[:12]):
            made = batches.carry_out(self.workshop, order)
        self.courier.wake()
        self.engine.trim()  # drawing may have taken what was free
        measured = self._measured(order.release_digest, made) if made else {}
        self._show(busy=False, **measured)

    def _measured(self, digest: str, made: batches.Made) -> dict[str, Any]:
        seconds = max(made.seconds, 0.001)
        speeds = self._speeds(digest, seconds / made.drawn)
        return {"images_per_minute": round(60 * made.images / seconds, 2), "speeds": speeds}

    def _speeds(self, digest: str, seconds_per_image: float) -> dict[str, float]:
        """By release, the latest last, with this one's."""
        others = [item for item in self.vitals.speeds.items() if item[0] != digest]
        speed = round(1 / max(seconds_per_image, 0.0001), 4)
        return dict([*others[1 - REMEMBERED_SPEEDS :], (digest, speed)])

    def set_duty(self, message: Any) -> None:
        wanted = SetDuty.read(message).duty
        log.info("Duty: %s", wanted)
        self.duty.write(wanted)

    def forgive(self, message: Any) -> None:
        digest = ForgiveRelease.read(message).release_digest
        if self.faulty.forgive(digest):
            log.info("Release %s is tried again", digest[:12])

    def run_job(self, message: Any) -> None:
        try:
            job = RunJob.read(message)
        except ContractError as error:
            # The server finds out by the silence, and asks a worker that can read it.
            log.error("A job nobody can answer: %s", error)
            return
        self._show(busy=True)
        with self.courier.drawing(), bound(job=job.job_id, release=job.release_digest[:12]):
            report = jobs.carry_out(self.workshop, self.cancellations, job)
        self.courier.wake()
        self.engine.trim()
        measured = {}
        if isinstance(report, PreviewReport):
            measured["speeds"] = self._speeds(job.release_digest, report.seconds_per_image)
        self._show(busy=False, **measured)

    def settle(self, message: Any) -> None:
        receipt = BatchReceipt.read(message)
        if self.outbox.settle(receipt.batch_id):
            log.info("Batch %s is settled", receipt.batch_id)

    def settle_job(self, message: Any) -> None:
        receipt = JobReceipt.read(message)
        if self.outbox.settle(receipt.job_id):
            log.info("Job %s is settled", receipt.job_id)

    def _refuse_unreadable(self, message: Any, error: ContractError) -> None:
        """Tell the server, if the message at least says which batch it is about."""
        try:
            batch_id, attempt = UUID(message["batch_id"]), int(message.get("attempt", 1))
        except (TypeError, KeyError, ValueError, AttributeError):
            log.error("An order nobody can answer: %s", error)
            return
        self.reports.refused(batch_id, max(attempt, 1), Unreadable(str(error)))

    def _warm_up(self) -> None:
        try:
            self.engine.warm_up()
        except Refusal as refusal:  # a bad release: the preflight has said so
            log.warning("Warm-up: %s", refusal)
        except Exception as error:
            # The first order will meet the same fault and report it.
            log.exception("Warm-up failed")
            self._show(trouble=f"{type(error).__name__}: {error}"[:500])
        device, total = device_in_use(config.device)
        self._show(device=device, memory_bytes=total)

    def _show_link(self, said: str) -> None:
        if said != self.vitals.link:
            self._show(link=said[:500])

    def _show(self, **changes: Any) -> None:
        with self._showing:  # the warm-up thread shows too
            changes |= {
                "loaded": self.engine.loaded,
                "memory_used_bytes": memory.in_use(config.device),
            }
            self.vitals = self.vitals.model_copy(update=changes)
            self.vitals.write(self._vitals_file)


@cache
def child() -> ChildProcess:
    return ChildProcess()
