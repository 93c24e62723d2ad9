"""Telling the server's worker that there is something to inspect.

The row is the truth: a ring that nobody hears costs time, since the clock looks as well.
"""

from __future__ import annotations

import logging
from uuid import UUID

from generator_worker.contract import INGEST_QUEUE
from messaging import traces

INSPECT = "registry.inspect"
log = logging.getLogger(__name__)


def ring_inspection(checkpoint_id: UUID) -> None:
    from webgui.config.celery import app

    message = {"checkpoint_id": str(checkpoint_id)}
    try:
        app.send_task(
            INSPECT,
            kwargs={"message": message},
            queue=INGEST_QUEUE,
            retry=False,
            headers=traces.headers(),
        )
    except Exception as error:  # whatever the transport raises: kombu wraps only some of it
        log.warning("Inspection of %s not announced: %s", checkpoint_id, error)
