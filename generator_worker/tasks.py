"""The messages this worker acts on. Thin: the work is in `workshop` and `batches`,
imported in the pool's child only, because they bring the model code.
"""

from __future__ import annotations

from typing import Any

from generator_worker.app import app
from generator_worker.contract import (
    BATCH_RECEIVED,
    FORGIVE_RELEASE,
    GENERATE_BATCH,
    JOB_RECEIVED,
    RUN_JOB,
    SET_DUTY,
)


@app.task(name=GENERATE_BATCH)
def generate_batch(message: dict[str, Any]) -> None:
    from generator_worker.workshop import child

    child().generate(message)


@app.task(name=BATCH_RECEIVED)
def batch_received(message: dict[str, Any]) -> None:
    from generator_worker.workshop import child

    child().settle(message)


@app.task(name=SET_DUTY)
def set_duty(message: dict[str, Any]) -> None:
    from generator_worker.workshop import child

    child().set_duty(message)


@app.task(name=FORGIVE_RELEASE)
def forgive_release(message: dict[str, Any]) -> None:
    from generator_worker.workshop import child

    child().forgive(message)


@app.task(name=RUN_JOB, reject_on_worker_lost=False)
def run_job(message: dict[str, Any]) -> None:
    """One that kills the process is not handed out again here: the server misses its signs of
    life, and gives it to another worker."""
    from generator_worker.workshop import child

    child().run_job(message)


@app.task(name=JOB_RECEIVED)
def job_received(message: dict[str, Any]) -> None:
    from generator_worker.workshop import child

    child().settle_job(message)
