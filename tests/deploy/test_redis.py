"""The broker with deploy/redis's settings: what an enrolled worker can do there, and what not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
from redis.exceptions import NoPermissionError

from generator_worker.app import celery_app, take_back
from generator_worker.config import Config
from generator_worker.contract import INGEST_QUEUE, SERVER_QUEUE, own_queues, worker_queue
from generator_worker.refusals import NoRoom
from generator_worker.reports import Reports
from tests.deploy import processes
from tests.generator_worker.test_app import Hands, send

PASSWORDS = {"server": "the-server-s-password", "admin": "the-admin-s-password"}


@dataclass
class Broker:
    folder: Path
    port: int
    sftp: str = "127.0.0.1:2222"

    def url(self, user: str) -> str:
        return f"redis://{user}:{PASSWORDS[user]}@127.0.0.1:{self.port}/0"

    def client(self, user: str) -> redis.Redis:
        return redis.Redis.from_url(self.url(user))

    @contextmanager
    def up(self) -> Iterator[None]:
        env = {
            **processes.clean_env(),
            "DATA": str(self.folder),
            "PORT": str(self.port),
            "SERVER_PASSWORD_FILE": str(self.folder / "server"),
            "ADMIN_PASSWORD_FILE": str(self.folder / "admin"),
        }
        start = processes.DEPLOY / "redis" / "start.sh"
        command = [start, "--bind", "127.0.0.1"]
        log = self.folder / "log"
        with processes.running(command, env, log, lambda: processes.listens(self.port)):
            yield

    def manage(self, *arguments: str, fails: bool = False) -> str:
        env = processes.server_env(
            self.folder / "home",
            BROKER_URL=self.url("server"),
            BROKER_ADMIN_URL=self.url("admin"),
            WORKERS_SFTP=self.sftp,
        )
        return processes.manage(env, *arguments, fails=fails)

    def admit(self, name: str, *options: str) -> dict[str, str]:
        """The settings that the command prints."""
        lines = self.manage("add_worker", name, *options).splitlines()
        return dict(line.split("=", 1) for line in lines if line.startswith("STYLEDIFFUSER_"))


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    processes.need("redis-server")
    for name, password in PASSWORDS.items():
        (tmp_path / name).write_text(password + "\n")
    sftp = tmp_path / "home" / "sftp"
    sftp.mkdir(parents=True)
    (sftp / "host_key.pub").write_text("ssh-ed25519 AAAA\n")
    made = Broker(tmp_path, processes.free_port())
    with made.up():
        made.manage("migrate", "-v0")
        yield made


def test_an_enrolled_worker_works_and_reaches_nothing_else(broker):
    env = broker.admit("gpu1")
    broker.admit("gpu2")
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
    assert Reports(app, "gpu1").refused(uuid4(), 1, NoRoom("full"))
    assert server.llen(SERVER_QUEUE) == 1
    client = redis.Redis.from_url(env["STYLEDIFFUSER_BROKER_URL"])
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


def test_the_real_preflight_finds_the_broker_good(broker, tmp_path):
    env = broker.admit("gpu1") | {"STYLEDIFFUSER_WORKER_HOME": str(tmp_path / "worker")}
    done = subprocess.run(
        [sys.executable, "-m", "generator_worker", "preflight", "--seconds", "0", "--json"],
        env={**processes.clean_env(), **env, "OMP_NUM_THREADS": "1"},
        cwd=processes.ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if '"broker"' in line]
    assert len(lines) == 1 and "messages wait" in lines[0], done.stdout + done.stderr


def test_a_real_worker_reports_under_its_account_until_it_is_revoked(broker, tmp_path):
    """The whole process, both doors real, with the files that add_worker wrote."""
    port = processes.free_port()
    sftp_env = processes.server_env(tmp_path / "home", BROKER_URL=broker.url("server"))
    serve = [sys.executable, "-m", "webgui", "run_sftp", "--port", str(port)]
    log = tmp_path / "sftp.log"
    with processes.running(serve, sftp_env, log, lambda: processes.listens(port)):
        broker.sftp = f"127.0.0.1:{port}"
        broker.manage("add_worker", "gpu1", "--out", str(tmp_path / "gpu1"))
        server = broker.client("server")
        log = tmp_path / "worker.log"
        env = {**_from_file(tmp_path / "gpu1"), "STYLEDIFFUSER_WORKER_HOME": str(tmp_path / "w")}
        work = [sys.executable, "-m", "generator_worker"]
        everything = {**processes.clean_env(), **env, "OMP_NUM_THREADS": "1"}
        with processes.running(work, everything, log, lambda: _beats(server) > 1):
            assert "permission" not in log.read_text().lower(), log.read_text()
            preflight = _preflight(everything)
            assert {finding["check"] for finding in preflight if finding["level"] == "ok"} >= {
                "broker",
                "sftp",
            }, preflight
            broker.manage("revoke_worker", "gpu1")
            server.delete(SERVER_QUEUE)
            assert "sftp" not in {
                finding["check"] for finding in _preflight(everything) if finding["level"] == "ok"
            }
            assert server.llen(SERVER_QUEUE) == 0


def _from_file(folder: Path) -> dict[str, str]:
    for path in folder.iterdir():
        assert path.stat().st_mode & 0o077 == 0
    lines = (folder / "generator.env").read_text().splitlines()
    key = {"STYLEDIFFUSER_SFTP_KEY": str(folder / "worker_key")}
    return dict(line.split("=", 1) for line in lines) | key


def _beats(server: redis.Redis) -> int:
    return sum(b"fleet.heartbeat" in text for text in server.lrange(SERVER_QUEUE, 0, -1))


def _preflight(env: dict[str, str]) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "generator_worker", "preflight", "--seconds", "0", "--json"],
        env=env, cwd=processes.ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return [line for line in lines if "level" in line]


def test_a_revoked_worker_is_cut_off_and_its_queues_are_gone(broker):
    env = broker.admit("gpu1")
    server = broker.client("server")
    inside = redis.Redis.from_url(env["STYLEDIFFUSER_BROKER_URL"])
    assert inside.ping()
    server.lpush(worker_queue("gpu1"), "order")
    account = broker.folder / "home" / "accounts" / "worker-gpu1"
    assert account.read_text().startswith("restrict ssh-ed25519 ")
    broker.manage("revoke_worker", "gpu1")
    with pytest.raises(redis.ConnectionError):
        inside.ping()  # the connection it had was closed, and no other is opened
    assert server.exists(*own_queues("gpu1")) == 0
    assert not account.exists()
    assert "no worker 'nobody'" in broker.manage("revoke_worker", "nobody", fails=True)


def test_accounts_outlive_a_restart_and_a_lost_file_is_made_anew(tmp_path, broker):
    env = broker.admit("gpu1")
    again = Broker(broker.folder, processes.free_port())
    lost = env["STYLEDIFFUSER_BROKER_URL"].replace(f":{broker.port}/", f":{again.port}/")
    with again.up():
        assert redis.Redis.from_url(lost).ping()
        again.client("admin").execute_command("ACL", "DELUSER", "worker-gpu1")
        assert "Admitted: gpu1" in again.manage("sync_workers")
        assert redis.Redis.from_url(lost).ping()


@pytest.mark.parametrize("name", ["gpu1.live", "gpu1.cancel", "../x", "a b", ""])
def test_names_that_would_reach_anothers_queue_are_refused(broker, name):
    assert "use 1 to 63" in broker.manage("add_worker", name, fails=True)


def test_a_name_is_enrolled_once_unless_asked_anew(broker):
    first = broker.admit("gpu1")
    assert "--anew" in broker.manage("add_worker", "gpu1", fails=True)
    assert redis.Redis.from_url(first["STYLEDIFFUSER_BROKER_URL"]).ping()
    inside = redis.Redis.from_url(first["STYLEDIFFUSER_BROKER_URL"])
    assert inside.ping()
    second = broker.admit("gpu1", "--anew")
    assert redis.Redis.from_url(second["STYLEDIFFUSER_BROKER_URL"]).ping()
    with pytest.raises(redis.AuthenticationError):
        inside.ping()  # the connection it had was closed


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


def test_an_account_that_may_not_admit_is_told_which_setting_to_set(broker):
    env = processes.server_env(
        broker.folder / "home",
        BROKER_URL=broker.url("server"),
        BROKER_ADMIN_URL=broker.url("server"),
    )
    assert "BROKER_ADMIN_URL" in processes.manage(env, "add_worker", "gpu1", fails=True)
