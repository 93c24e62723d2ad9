"""Which messages a worker takes, in which order, and what becomes of those it dies with."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from celery import Celery

from generator_worker.app import celery_app, take_back
from generator_worker.config import Config
from generator_worker.contract import live_queue, worker_queue


@pytest.fixture
def client(broker):
    client = redis.Redis.from_url(broker)
    client.flushall()
    return client


def app_of(name: str, broker: str) -> Celery[Any]:
    env = {"STYLEDIFFUSER_WORKER_NAME": name, "STYLEDIFFUSER_BROKER_URL": broker}
    return celery_app(Config.from_env(env))


def send(app: Celery[Any], queue: str, *numbers: int) -> None:
    for number in numbers:
        app.send_task("draw", args=(number,), queue=queue)


class Hands:
    """A consumer as the worker's, one message in hand at a time."""

    def __init__(self, app: Celery[Any]) -> None:
        self.connection = app.connection_for_read()
        self.channel = self.connection.default_channel
        self.taken: list[Any] = []
        consumer = app.amqp.TaskConsumer(self.channel, on_message=self.taken.append)
        consumer.qos(prefetch_count=1)
        consumer.consume()

    def __enter__(self) -> Hands:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.release()

    def take(self) -> int:
        self.connection.drain_events(timeout=1)
        return self.taken[-1].payload[0][0]

    def done(self) -> None:
        self.taken[-1].ack()

    def die(self) -> None:
        """As a killed process does: without handing anything back."""
        self.channel.qos._on_collect.cancel()
        self.channel.qos._delivered.clear()
        self.connection.release()


def test_what_somebody_waits_for_goes_first_every_time(broker, client):
    app = app_of("painter", broker)
    send(app, worker_queue("painter"), 1, 2, 3)
    send(app, live_queue("painter"), 10, 11)
    order = []
    with Hands(app) as hands:
        for turn in range(6):
            order.append(hands.take())
            hands.done()
            if turn == 3:
                send(app, live_queue("painter"), 12)
    assert order == [10, 11, 1, 2, 12, 3]


def test_nobody_takes_or_sees_anothers_messages(broker, client):
    one, other = app_of("painter", broker), app_of("sculptor", broker)
    send(one, worker_queue("painter"), 1)
    with Hands(one) as hands, Hands(other) as strangers:
        assert hands.take() == 1
        with pytest.raises(TimeoutError):
            strangers.take()
        # Nor does it hand them out again, however long they are in hand.
        strangers.channel.qos.visibility_timeout = 0
        strangers.channel.qos.restore_visible()
        assert take_back(other) == 0
        assert client.hlen("unacked:painter") == 1
        assert client.llen(worker_queue("painter")) == 0
        assert client.exists("unacked", "unacked_index", "unacked:sculptor") == 0


def test_a_killed_worker_finds_its_messages_again_at_its_next_start(broker, client):
    app = app_of("painter", broker)
    send(app, worker_queue("painter"), 1, 2)
    hands = Hands(app)
    assert hands.take() == 1
    hands.die()
    assert client.hlen("unacked:painter") == 1
    assert take_back(app) == 1
    assert client.hlen("unacked:painter") == 0
    with Hands(app) as hands:
        again = hands.take()
        hands.done()
        assert (again, hands.take()) == (1, 2)
