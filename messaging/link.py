"""Noticing that the broker is gone when nothing else does.

    app = Celery("name", task_cls=link.WatchedTask)
    link.watch(app)

Seen with celery 5.7 and redis 8.1: where the broker dies just as a task ends, the failed
acknowledgement takes the dead connection out of the event loop, so that the consumer never hears
of the loss and waits on a closed link for ever, heartbeats going on. A failed acknowledgement
therefore makes the consumer connect anew.
"""

from __future__ import annotations

from typing import Any

from celery import Celery, Task, bootsteps
from celery.worker.request import Request

CHECK_SECONDS = 2.0

_sent: list[Any] = []
"""Messages whose acknowledgement was asked for since the last look."""


class WatchedRequest(Request):
    """A request that remembers which message it acknowledged."""

    def acknowledge(self) -> None:
        super().acknowledge()
        # The acknowledgement itself comes with the event loop's next turn; where it fails, kombu
        # logs that and goes on.
        _sent.append(self.message)


class WatchedTask(Task):
    Request = "messaging.link:WatchedRequest"


def watch(app: Celery[Any]) -> None:
    """Let the consumers of this application notice what they lost."""
    app.steps["consumer"].add(ReconnectAfterFailedAck)


class ReconnectAfterFailedAck(bootsteps.StartStopStep):
    """Ends the consumer's loop with a connection error, from which it recovers as from others."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._timer: Any = None
        self._due: list[Any] = []

    def start(self, parent: Any) -> None:
        _sent.clear()
        self._timer = parent.timer.call_repeatedly(CHECK_SECONDS, self._check)

    def stop(self, parent: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        lost = [message for message in self._due if not message.acknowledged]
        self._due, _sent[:] = list(_sent), []
        if lost:
            self._due = []
            raise ConnectionResetError("an acknowledgement did not reach the broker")
