"""Brings spooled batches to the server, again and again until its receipt comes.

A thread of the pool's child process, so that the next batch is drawn while the last one
travels. (Not of the main process: that one forks, and a fork beside a busy thread may inherit
its locks.)
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from generator_worker.config import Config
from generator_worker.delivery import DeliveryError, deliver
from generator_worker.ledger import Ledger
from generator_worker.outbox import Outbox
from generator_worker.reports import Reports
from messaging.logs import bound

log = logging.getLogger(__name__)

TICK_SECONDS = 5.0
LINK_RETRY = (2.0, 60.0)
"""First and longest pause after the server could not be reached."""
REMINDER = (60.0, 900.0)
"""First and longest pause before a delivered batch without a receipt is offered again."""
DRAWING_COUNTS = 0.1
"""Receipts wait in line behind the batch being drawn, so that time hardly counts as pause. It
counts a little, or a worker that is never idle would remind nobody."""


@dataclass
class _Offer:
    """A batch that was delivered at least once."""

    due: float
    """By the clock that goes slowly while a batch is drawn."""
    pause: float


class Courier(threading.Thread):
    def __init__(
        self,
        config: Config,
        outbox: Outbox,
        reports: Reports,
        ledger: Ledger,
        tell: Callable[[str], None] = lambda said: None,
    ) -> None:
        super().__init__(name="courier", daemon=True)
        self._config = config
        self._outbox = outbox
        self._reports = reports
        self._ledger = ledger
        self._tell = tell
        """Hears why the server cannot be reached, and an empty word once it can."""
        self._offers: dict[UUID, _Offer] = {}
        self._link_due = 0.0
        self._link_pause = LINK_RETRY[0]
        self._drawn = 0.0
        self._drawing_since: float | None = None
        self._wake = threading.Event()
        self._stopping = False

    def wake(self) -> None:
        """There is something new in the outbox."""
        self._wake.set()

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """A batch is being drawn, and no receipt can be read meanwhile."""
        self._drawing_since = began = time.monotonic()
        try:
            yield
        finally:
            # In this order: at worst the other thread sees its clock go back for a moment.
            self._drawn += time.monotonic() - began
            self._drawing_since = None

    def _clock(self) -> float:
        now, since = time.monotonic(), self._drawing_since
        drawn = self._drawn + (now - since if since is not None else 0.0)
        return now - drawn * (1 - DRAWING_COUNTS)

    def stop(self, patience: float = 10.0) -> None:
        """Deliver what was never delivered, if that goes quickly, and end."""
        self._stopping = True
        self._wake.set()
        if self.is_alive():
            self.join(patience)

    def run(self) -> None:
        while not self._stopping:
            self._wake.wait(TICK_SECONDS)
            self._wake.clear()
            try:
                self.round()
            except Exception:
                log.exception("The courier's round failed; it goes on")

    def round(self) -> None:
        """Deliver every batch that is due. One failure ends the round: the link is down."""
        if time.monotonic() < self._link_due and not self._stopping:
            return
        waiting = self._outbox.waiting()
        self._offers = {key: self._offers[key] for key in waiting if key in self._offers}
        for batch_id in waiting:
            offer = self._offers.get(batch_id)
            if offer and (self._stopping or self._clock() < offer.due):
                continue
            with bound(**self._outbox.ids(batch_id)):
                try:
                    self._bring(batch_id, offer)
                except DeliveryError as error:
                    self._rest(error)
                    return
                except Exception:
                    # A damaged batch must not hold up the others.
                    log.exception("Batch %s cannot be delivered", batch_id)
                    self._offers[batch_id] = _Offer(self._clock() + REMINDER[1], REMINDER[1])

    def _bring(self, batch_id: UUID, offer: _Offer | None) -> None:
        try:
            manifest = self._outbox.manifest(batch_id)
        except FileNotFoundError:
            return  # settled meanwhile
        began = time.monotonic()
        fresh = deliver(self._config, manifest.folder, self._outbox.folder(batch_id))
        self._tell("")
        self._link_pause = LINK_RETRY[0]
        pause = min(offer.pause * 2, REMINDER[1]) if offer else REMINDER[0]
        self._offers[batch_id] = _Offer(self._clock() + pause, pause)
        self._reports.delivered(manifest)
        seconds = time.monotonic() - began
        if fresh:
            self._ledger.delivered(sum(image.bytes for image in manifest.images), seconds)
        log.info(
            "Delivery %s: %d images %s in %.1f s",
            manifest.folder,
            len(manifest.images),
            "delivered" if fresh else "were there already",
            seconds,
        )

    def _rest(self, error: DeliveryError) -> None:
        self._ledger.delivery_failed()
        log.warning("Not delivered, next try in %.0f s: %s", self._link_pause, error)
        self._tell(f"{len(self._outbox.waiting())} batches wait: {error}")
        self._link_due = time.monotonic() + self._link_pause
        self._link_pause = min(self._link_pause * 2, LINK_RETRY[1])
