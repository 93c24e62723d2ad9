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

from generator_worker.app import app, config, journal, outbox, reports, take_back
from generator_worker.heartbeat import Pulse

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1


@worker_init.connect
def find_what_was_cut_short(**_: Any) -> None:
    journal().forgive_stop()
    journal().forget_old()
    try:
        if taken := take_back(app):
            log.warning("Took back %d messages that a killed process had in hand", taken)
    except app.connection_for_write().connection_errors as error:
        # They come back with the visibility timeout, and the server asks again long before.
        log.warning("Could not take back what a killed process had in hand: %s", error)


@worker_shutting_down.connect
def note_stop(**_: Any) -> None:
    journal().note_stop()


@worker_ready.connect
def start_main(**_: Any) -> None:
    Pulse(config, outbox(), reports(app)).start()


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
