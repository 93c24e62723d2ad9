"""A running job hears that it is called off, by a broker that may be away."""

from __future__ import annotations

from uuid import uuid4

import pytest
import redis
from celery import Celery

from generator_worker import cancelling
from generator_worker.app import celery_app
from generator_worker.cancelling import Cancellations, Cancelled
from generator_worker.config import Config
from generator_worker.contract import CANCEL_JOB, CancelJob, cancel_queue


@pytest.fixture
def client(broker):
    client = redis.Redis.from_url(broker)
    client.flushall()
    return client


@pytest.fixture
def call_off(broker, client):
    """As the server does."""
    server = Celery("server", broker=broker)
    server.conf.task_create_missing_queues = True

    def send(job_id, worker="painter", message=None):
        message = message or CancelJob(job_id=job_id).wire()
        server.send_task(CANCEL_JOB, kwargs={"message": message}, queue=cancel_queue(worker))

    return send


@pytest.fixture
def cancellations(broker):
    env = {"STYLEDIFFUSER_WORKER_NAME": "painter", "STYLEDIFFUSER_BROKER_URL": broker}
    found = Cancellations(celery_app(Config.from_env(env)), "painter")
    yield found
    found.over()


def test_a_job_is_called_off_and_others_are_not(cancellations, call_off, client):
    job, other = uuid4(), uuid4()
    call_off(job)
    call_off(uuid4())
    cancellations.check(other)
    with pytest.raises(Cancelled):
        cancellations.check(job)
    assert client.llen(cancel_queue("painter")) == 0
    assert client.keys("unacked*") == []  # nothing that would be handed out again


def test_another_workers_word_is_left_where_it_is(cancellations, call_off, client):
    job = uuid4()
    call_off(job, "sculptor")
    cancellations.check(job)
    assert client.llen(cancel_queue("sculptor")) == 1


def test_it_looks_about_once_a_second(cancellations, call_off, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(cancelling.time, "monotonic", lambda: now[0])
    job = uuid4()
    cancellations.check(job)
    call_off(job)
    now[0] += 0.9
    cancellations.check(job)
    now[0] += 0.2
    with pytest.raises(Cancelled):
        cancellations.check(job)


def test_what_cannot_be_read_is_passed_over(cancellations, call_off):
    job = uuid4()
    call_off(job, message={"contract": 2})
    call_off(job, message={"contract": 1, "job_id": "none"})
    call_off(job)
    with pytest.raises(Cancelled):
        cancellations.check(job)


def test_a_broker_that_is_away_stops_no_job(call_off, unused_port, caplog):
    env = {
        "STYLEDIFFUSER_WORKER_NAME": "painter",
        "STYLEDIFFUSER_BROKER_URL": f"redis://127.0.0.1:{unused_port}/0",
    }
    cancellations = Cancellations(celery_app(Config.from_env(env)), "painter")
    cancellations.check(uuid4())
    cancellations.check(uuid4())
    assert caplog.text.count("Could not look for cancellations") == 1
    cancellations.over()


@pytest.fixture
def unused_port():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]
