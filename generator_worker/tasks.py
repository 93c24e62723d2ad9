"""The messages this worker acts on. Thin: the work is in `workshop` and `batches`,
imported in the pool's child only, because they bring the model code.
"""

from __future__ import annotations

from typing import Any

from generator_worker.app import app
from generator_worker.contract import BATCH_RECEIVED, FORGIVE_RELEASE, GENERATE_BATCH, SET_DUTY


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
