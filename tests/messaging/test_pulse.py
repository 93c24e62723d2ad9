"""The file that says a Celery worker hears its broker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from celery import Celery

from messaging import pulse
from tests.generator_worker.conftest import broker  # noqa: F401
from tests.messaging.test_link import Timer

PROGRAM = """
import sys
from celery import Celery
from messaging import pulse
pulse.SECONDS = 0.2
app = Celery("one", broker=sys.argv[1])
app.conf.update(broker_connection_retry_on_startup=True)
pulse.keep(app, sys.argv[2])
app.worker_main(["worker", "--pool=solo", "--without-gossip", "--without-mingle"])
"""


def renewed(file: Path, within: float) -> bool:
    """Whether the file, made old, becomes young again."""
    if file.exists():
        os.utime(file, (0, 0))
    return until(lambda: file.exists() and file.stat().st_mtime > 0, within)


def until(holds: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.05)
    return False


def test_a_worker_renews_it_while_its_loop_turns(broker: str, tmp_path: Path) -> None:  # noqa: F811
    file = tmp_path / "pulse"
    worker = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, broker, str(file)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert renewed(file, within=30)
        assert renewed(file, within=10)
        worker.send_signal(signal.SIGSTOP)
        assert not renewed(file, within=1)
    finally:
        worker.kill()
        worker.wait()


def test_it_gets_old_while_the_broker_is_away(tmp_path: Path) -> None:
    """Celery stops the step with the connection, and starts it with the next."""
    app: Celery = Celery("one")
    pulse.keep(app, str(tmp_path / "pulse"))
    clock = Timer()
    consumer = SimpleNamespace(app=app, timer=clock)
    step = pulse.Pulse(consumer)
    step.start(consumer)
    assert (tmp_path / "pulse").exists() and not clock.cancelled
    step.stop(consumer)
    assert clock.cancelled


def test_without_a_path_there_is_no_such_step() -> None:
    app: Celery = Celery("one")
    pulse.keep(app, "")
    consumer = SimpleNamespace(app=app)
    assert not pulse.Pulse(consumer).include_if(consumer)
