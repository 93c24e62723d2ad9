"""The broker with deploy/redis's settings: what an enrolled worker can do there, and what not."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
from redis.exceptions import NoPermissionError

from generator_worker.app import celery_app, take_back
from generator_worker.config import Config
from generator_worker.contract import INGEST_QUEUE, SERVER_QUEUE, own_queues, worker_queue
from generator_worker.preflight import _broker as look_at_the_broker
from generator_worker.refusals import NoRoom
from generator_worker.reports import Reports
from tests.deploy import processes
from tests.deploy.broker_host import PASSWORDS, Broker, Door, broker_host, door_to
from tests.generator_worker.test_app import Hands, send


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with broker_host(tmp_path_factory.mktemp("broker")) as made:
        yield made


@pytest.fixture
def door(broker: Broker, db: None, home: Path, settings: Any) -> Door:
    return door_to(broker, home, settings)


def test_an_enrolled_worker_works_and_reaches_nothing_else(broker, door):
    env = door.admit("gpu1")
    door.admit("gpu2")
    app: Any = celery_app(Config.from_env(env))
    server = broker.client("server")
    serving: Any = celery_app(
        Config.from_env({**env, "STYLEDIFFUSER_BROKER_URL": broker.url("server")})
    )
    send(serving, worker_queue("gpu1"), 1, 2)
    with Hands(app) as hands:
        assert hands.take() == 1
        hands.done()
        assert hands.take() == 2
        hands.die()
    assert take_back(app) == 1
    assert Reports(app, "gpu1", "a key").refused(uuid4(), 1, NoRoom("full"))
    assert server.llen(SERVER_QUEUE) == 1
    client = door.inside(env)
    assert sum(client.llen(queue) for queue in own_queues("gpu1")) == 1
    _refused(client, *_theft())


def _theft() -> tuple[tuple[str, ...], ...]:
    """What a stolen password would be used for."""
    other = worker_queue("gpu2")
    return (
        ("RPOP", other), ("LPUSH", other, "x"), ("LLEN", other), ("DEL", other),
        ("RPOP", SERVER_QUEUE), ("LRANGE", SERVER_QUEUE, "0", "-1"), ("DEL", INGEST_QUEUE),
        ("LLEN", SERVER_QUEUE), ("SET", SERVER_QUEUE, "x"),
        ("HGET", "unacked:gpu2", "x"), ("HGET", "unacked", "x"),
        ("ZADD", "unacked_index", "1", "x"),
        ("KEYS", "*"), ("SCAN", "0"), ("FLUSHALL",), ("CONFIG", "GET", "*"), ("ACL", "LIST"),
        ("CLIENT", "LIST"), ("MONITOR",), ("EVAL", "return 1", "0"), ("SUBSCRIBE", "x"),
        ("PUBLISH", "x", "y"), ("INFO",), ("SHUTDOWN",), ("GET", "session"),
    )  # fmt: skip


def _refused(client: redis.Redis, *commands: tuple[str, ...]) -> None:
    for command in commands:
        with pytest.raises(NoPermissionError):
            client.execute_command(*command)


def test_the_preflight_finds_the_broker_good(door, tmp_path):
    env = door.admit("gpu1") | {"STYLEDIFFUSER_WORKER_HOME": str(tmp_path / "worker")}
    finding = look_at_the_broker(Config.from_env(env))
    assert (finding.check, finding.level) == ("broker", "ok"), finding


def test_without_an_account_nobody_comes_in(broker):
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(host="127.0.0.1", port=broker.port).ping()


def test_a_short_password_is_refused(tmp_path):
    processes.need("redis-server")
    for name in PASSWORDS:
        (tmp_path / name).write_text("short")
    env = {**os.environ, "DATA": str(tmp_path), "SERVER_PASSWORD_FILE": str(tmp_path / "server"),
           "ADMIN_PASSWORD_FILE": str(tmp_path / "admin")}  # fmt: skip
    done = subprocess.run(
        [str(processes.DEPLOY / "redis" / "start.sh")], env=env, capture_output=True, text=True,
        check=False, timeout=10,
    )  # fmt: skip
    assert done.returncode == 1
    assert "less than 16" in done.stderr
