"""Whose messages the server heeds: its own whatever they ask, and a worker's reports about itself.

    app = Celery("webgui", task_cls=SealedTask)

A worker that is not enrolled (the demo's own) seals with the password that the server itself has
at the broker; whoever knows that can do there what the server can.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from typing import Any

from celery.signals import before_task_publish
from django.conf import settings

from generator_worker.contract import FROM_WORKERS
from messaging import seals, traces

OURS = ""
log = logging.getLogger(__name__)


class SealedTask(traces.TracedTask):
    """Does nothing for a message whose seal is not that of somebody who may ask for it."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.request.called_directly or _may_ask(self.name, kwargs, self.request.headers or {}):
            return super().__call__(*args, **kwargs)
        log.error("Not done: %s, for its seal is not of somebody who may ask for it", self.name)
        return None


def _may_ask(task: str, kwargs: dict[str, Any], headers: dict[str, Any]) -> bool:
    seal = headers.get(seals.HEADER)
    if not isinstance(seal, str):
        return False
    sender = seals.sender(seal)
    if sender == OURS:
        return seals.is_genuine(seal, _own_key(), task, kwargs)
    message = kwargs.get("message")
    about = message.get("worker") if isinstance(message, dict) else None
    if task not in FROM_WORKERS or about != sender:
        return False
    return any(seals.is_genuine(seal, key, task, kwargs) for key in _keys(sender))


def _keys(worker: str) -> Iterator[str]:
    from .models import Enrolment

    yield seals.key_of(settings.BROKER_URL)
    yield from Enrolment.objects.filter(name=worker, revoked_at=None).values_list(
        "password", flat=True
    )


def _own_key() -> str:
    """All processes of the server have it, and nobody else."""
    return hashlib.sha256(f"webgui.enrolment.seals {settings.SECRET_KEY}".encode()).hexdigest()


@before_task_publish.connect
def _seal(sender: str, body: Any, headers: dict[str, Any], **_: Any) -> None:
    """What the server's processes send, the clock's ticks too."""
    if seals.HEADER not in headers:
        headers[seals.HEADER] = seals.seal(_own_key(), OURS, sender, body[1])
