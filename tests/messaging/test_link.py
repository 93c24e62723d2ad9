"""A failed acknowledgement ends the consumer's loop, a late one does not."""

import importlib
from types import SimpleNamespace

import pytest

from generator_worker.contract import GENERATE_BATCH, HEARTBEAT
from messaging import link


class Timer:
    """Celery's timer, as far as the step uses it."""

    cancelled = False

    def call_repeatedly(self, seconds, call):
        self.call = call
        return SimpleNamespace(cancel=lambda: setattr(self, "cancelled", True))


@pytest.fixture
def timer():
    parent = SimpleNamespace(timer=Timer())
    step = link.ReconnectAfterFailedAck(parent)
    step.start(parent)
    yield parent.timer
    step.stop(parent)
    assert parent.timer.cancelled


def test_what_is_acknowledged_by_the_next_look_is_well(timer):
    message = SimpleNamespace(acknowledged=False)
    link._sent.append(message)
    timer.call()
    message.acknowledged = True
    timer.call()
    timer.call()


def test_what_is_not_makes_the_consumer_connect_anew_once(timer):
    link._sent.append(SimpleNamespace(acknowledged=False))
    timer.call()
    with pytest.raises(ConnectionResetError, match="did not reach the broker"):
        timer.call()
    timer.call()


@pytest.mark.parametrize(
    ("module", "task"),
    [("webgui.config.celery", HEARTBEAT), ("generator_worker.tasks", GENERATE_BATCH)],
)
def test_both_sides_are_watched(module, task):
    app = importlib.import_module(module).app
    app.loader.import_default_modules()
    assert link.ReconnectAfterFailedAck in app.steps["consumer"]
    assert app.tasks[task].Request == "messaging.link:WatchedRequest"
    assert app.conf.broker_connection_max_retries is None
