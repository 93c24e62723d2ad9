"""Jobs called off while they are carried out.

A worker does one thing at a time, so word of a cancellation would wait in its queues behind the
very job. It has a queue of its own, at which the running job looks about once a second.
"""

from __future__ import annotations

import logging
import time
from typing import Any
from uuid import UUID

from celery import Celery

from generator_worker.contract import CancelJob, ContractError, cancel_queue
from generator_worker.refusals import Refusal

log = logging.getLogger(__name__)

EVERY_SECONDS = 1.0
QUIET_SECONDS = 15.0
"""After the broker did not answer; asking it in vain takes seconds."""


class Cancelled(Refusal):
    """Nobody wants the job any more."""

    kind = "cancelled"


class Cancellations:
    def __init__(self, app: Celery[Any], worker: str) -> None:
        self._app = app
        self._queue = cancel_queue(worker)
        self._called_off: set[UUID] = set()
        self._channel: Any = None
        self._next = 0.0

    def check(self, job_id: UUID) -> None:
        """Raises Cancelled if the job was called off."""
        if time.monotonic() >= self._next:
            pause = EVERY_SECONDS if self._look() else QUIET_SECONDS
            self._next = time.monotonic() + pause
        if job_id in self._called_off:
            raise Cancelled

    def over(self) -> None:
        """No job is carried out any more; the broker need not keep a line open for us."""
        self._called_off.clear()
        self._hang_up()
        self._next = 0.0

    def _look(self) -> bool:
        """Take what there is. Where the broker does not answer, the job goes on."""
        try:
            if self._channel is None:
                # Not its default channel, for which kombu would try without an end.
                self._channel = self._app.connection_for_read().channel()
            while (message := self._channel.basic_get(self._queue, no_ack=True)) is not None:
                self._note(message.payload)
        except Exception as error:  # whatever the transport raises: kombu wraps only some of it
            log.warning("Could not look for cancellations: %s", error)
            self._hang_up()
            return False
        return True

    def _note(self, payload: Any) -> None:
        try:
            _, options, _ = payload  # as Celery sends tasks
            self._called_off.add(CancelJob.read(options["message"]).job_id)
        except (ContractError, TypeError, ValueError, KeyError) as error:
            log.error("Unreadable cancellation: %s", error)

    def _hang_up(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.connection.client.release()
