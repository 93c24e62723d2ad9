"""What happens when the worker and its pool's child process start and stop."""

from __future__ import annotations

import logging
import os
from typing import Any

from celery.signals import (
    setup_logging,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
    worker_shutting_down,
)

from generator_worker.app import app, config, journal, take_back
from generator_worker.parentage import die_with_parent
from messaging import logs

log = logging.getLogger(__name__)

_MAIN = os.getpid()  # a pool's child inherits it


@setup_logging.connect
def set_up_logs(**_: Any) -> None:
    logs.set_up(config.log_level, config.log_format)


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


@worker_process_init.connect
def start_child(**_: Any) -> None:
    die_with_parent(_MAIN)
    from generator_worker.workshop import child

    child().start()


@worker_process_shutdown.connect
def stop_child(**_: Any) -> None:
    from generator_worker.workshop import child

    child().courier.stop()
