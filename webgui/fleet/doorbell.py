"""Sending what the database already says: the messages to workers.

A message that does not get through is no loss, only a delay: the row stays, and is looked at
again. So no caller waits for the broker, nor fails with it.
"""

from __future__ import annotations

import logging

from generator_worker.contract import Wire
from messaging import traces

log = logging.getLogger(__name__)


def ring(task: str, message: Wire, queue: str) -> bool:
    from webgui.config.celery import app

    try:
        app.send_task(
            task,
            kwargs={"message": message.wire()},
            queue=queue,
            retry=False,
            headers=traces.headers(),
        )
    except Exception as error:  # whatever the transport raises: kombu wraps only some of it
        log.warning("%s to %s not sent: %s", task, queue, error)
        return False
    return True
