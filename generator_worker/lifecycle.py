"""What happens when the worker and its pool's child process start and stop."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
from typing import Any

from celery.signals import (
    worker_init,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutting_down,
)

from generator_worker.app import app, config, journal, outbox, reports
from generator_worker.contract import GENERATE_BATCH, worker_queue
from generator_worker.heartbeat import Pulse

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1


@worker_init.connect
def forgive_stop(**_: Any) -> None:
    journal().forgive_stop()


@worker_shutting_down.connect
def note_stop(**_: Any) -> None:
    journal().note_stop()


@worker_ready.connect
def start_main(**_: Any) -> None:
    Pulse(config, outbox(), reports(app)).start()
    for order in journal().unfinished():
        log.warning("Taking up batch %s again: it was cut short", order.batch_id)
        app.send_task(
            GENERATE_BATCH,
            kwargs={"message": order.wire()},
            queue=worker_queue(config.worker_name),
        )


@worker_process_init.connect
def start_child(**_: Any) -> None:
    die_with_parent()
    from generator_worker.workshop import child

    child().start()


@worker_process_shutdown.connect
def stop_child(**_: Any) -> None:
    from generator_worker.workshop import child

    child().courier.stop()


def die_with_parent() -> None:
    """Linux: a killed main process takes its child along, which else would work on unseen."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    except (OSError, AttributeError):
        return
    if os.getppid() == 1 and os.getpid() != 1:
        log.warning("The parent process is gone already")
