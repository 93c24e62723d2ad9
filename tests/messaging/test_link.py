"""A failed acknowledgement ends the consumer's loop, a late one does not."""

from types import SimpleNamespace

import pytest

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
