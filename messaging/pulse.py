"""A file whose time says that a Celery worker hears its broker: for health checks from outside.

    pulse.keep(app, "/tmp/pulse")

It is renewed by the consumer's own loop, and only while there is one: it gets old where the broker
is away as well as where the loop hangs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from celery import Celery, bootsteps

SECONDS = 5.0


def keep(app: Celery[Any], path: str) -> None:
    """Let this application's workers renew the file at `path`; with "" none is."""
    app.conf.update(pulse_file=path)
    app.steps["consumer"].add(Pulse)


class Pulse(bootsteps.StartStopStep):
    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._file = Path(parent.app.conf.pulse_file)
        self._timer: Any = None

    def include_if(self, parent: Any) -> bool:
        return bool(parent.app.conf.pulse_file)

    def start(self, parent: Any) -> None:
        self._file.touch()
        self._timer = parent.timer.call_repeatedly(SECONDS, self._file.touch)

    def stop(self, parent: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
