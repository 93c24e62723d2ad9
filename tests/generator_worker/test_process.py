"""A whole worker process with a real broker, an SFTP server that comes late, and a bad release."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
from celery import Celery

from generator_worker.app import celery_app
from generator_worker.config import Config, software
from generator_worker.contract import (
    BATCH_FAILED,
    BATCH_PROGRESS,
    FORGIVE_RELEASE,
    GENERATE_BATCH,
    HEARTBEAT,
    SERVER_QUEUE,
    SET_DUTY,
    BatchFailed,
    Duty,
    ForgiveRelease,
    GenerateBatch,
    Heartbeat,
    SetDuty,
    State,
    live_queue,
    worker_queue,
)
from generator_worker.faulty import FaultyReleases
from tests.generator_worker.test_fetching import serve
from tests.sftp_server import Served, serving
from webgui.demo.ground import free_port
from webgui.sftp.dropbox import Dropbox
from webgui.sftp.keys import ensure_keys

MIB = 2**20
PATIENCE = 90


@dataclass
class Server:
    """The server's end of the broker, without a server."""

    app: Celery[Any]
    client: redis.Redis

    def send(self, task: str, message: Any, queue: str) -> None:
        self.app.send_task(task, kwargs={"message": message.wire()}, queue=queue)

    def hear(self, task: str, holds: Callable[[dict], bool]) -> dict:
        """The next message of this task for which it holds; others are read and dropped."""
        deadline = time.monotonic() + PATIENCE
        heard: dict = {}
        while time.monotonic() < deadline:
            found = self.client.brpop([SERVER_QUEUE], timeout=1)
            if found is None:
                continue
            envelope = json.loads(found[1])
            if envelope["headers"]["task"] == task:
                body = json.loads(base64.b64decode(envelope["body"]))
                heard = body[1]["message"]
                if holds(heard):
                    return heard
        raise AssertionError(f"Not heard within {PATIENCE} s: {task}; last: {heard}")


@pytest.fixture
def server(broker) -> Iterator[Server]:
    client = redis.Redis.from_url(broker)
    client.flushall()
    env = {"STYLEDIFFUSER_WORKER_NAME": "server", "STYLEDIFFUSER_BROKER_URL": broker}
    with closing(client):
        yield Server(celery_app(Config.from_env(env)), client)


@pytest.fixture
def bad_release(tmp_path) -> str:
    """One that can be found and not loaded."""
    file = tmp_path / "shelf" / "bad" / "release.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"format": 1}')
    return sha256(file.read_bytes()).hexdigest()


@pytest.fixture
def env(broker, tmp_path) -> dict[str, str]:
    """A worker's settings; its SFTP server is not there yet."""
    keys = ensure_keys(tmp_path / "server" / "keys")
    return {
        **{key: value for key, value in os.environ.items() if "DJANGO" not in key},
        "STYLEDIFFUSER_BROKER_URL": broker,
        "STYLEDIFFUSER_WORKER_NAME": "painter",
        "STYLEDIFFUSER_WORKER_HOME": str(tmp_path / "worker"),
        "STYLEDIFFUSER_RELEASES": str(tmp_path / "shelf"),
        "STYLEDIFFUSER_SFTP_PORT": str(free_port()),
        "STYLEDIFFUSER_SFTP_USER": "worker",
        "STYLEDIFFUSER_SFTP_KEY": str(keys.worker_key),
        "STYLEDIFFUSER_SFTP_HOST_KEY": keys.host_key_line,
        "STYLEDIFFUSER_METRICS_PORT": str(free_port()),
        "STYLEDIFFUSER_LOG_FORMAT": "json",
        "STYLEDIFFUSER_SOFT_SHUTDOWN": "2",
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture
def start(env, tmp_path) -> Iterator[Callable[[], subprocess.Popen]]:
    started = []

    def start() -> subprocess.Popen:
        with (tmp_path / "log").open("ab") as log:
            argv = [sys.executable, "-m", "generator_worker"]
            started.append(subprocess.Popen(argv, env=env, stdout=log, stderr=log))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def come(home: Path, env: dict[str, str]) -> AbstractContextManager[Served]:
    """The SFTP server that the worker was told of."""
    return serving(home, socket.create_server(("127.0.0.1", int(env["STYLEDIFFUSER_SFTP_PORT"]))))


def order_for(digest: str) -> GenerateBatch:
    return GenerateBatch(batch_id=uuid4(), pool="toon", release_digest=digest, count=4, base_seed=1)


def outcome(server: Server, digest: str) -> str:
    """The kind of failure that an order for this release ends in."""
    asked = order_for(digest)
    server.send(GENERATE_BATCH, asked, worker_queue("painter"))
    told = server.hear(BATCH_FAILED, lambda told: told["batch_id"] == str(asked.batch_id))
    assert told["elsewhere"]
    return BatchFailed.read(told).kind


def test_from_refusing_to_stopping(server, start, env, tmp_path, bad_release):
    process = start()
    # It refuses, says why, and is alive all the same.
    beat = server.hear(HEARTBEAT, lambda beat: beat["state"] == State.REFUSING)
    assert "sftp" in [finding["check"] for finding in beat["findings"]]
    assert "refuses connections" in json.dumps(beat["findings"])
    server.send(SET_DUTY, SetDuty(duty=Duty.DRAINING), live_queue("painter"))
    assert server.client.llen(live_queue("painter")) == 1

    # The SFTP server comes; it looks again by itself, and takes up what waits.
    with come(tmp_path / "server", env):
        beat = server.hear(HEARTBEAT, lambda beat: beat["state"] == State.DRAINED)
        assert (beat["duty"], Heartbeat.read(beat).device) == (Duty.DRAINING, "cpu")
        assert [finding["check"] for finding in beat["findings"]] == ["releases"]

        # A release that cannot be loaded fails three times, and then no longer.
        kinds = [outcome(server, bad_release) for _ in range(4)]
        assert kinds == ["broken-release"] * 3 + ["faulty-release"]
        beat = server.hear(HEARTBEAT, lambda beat: beat["faulty"])
        assert beat["faulty"][0]["release_digest"] == bad_release
        assert beat["failures"] == {"broken-release": 3, "faulty-release": 1}
        server.send(
            FORGIVE_RELEASE, ForgiveRelease(release_digest=bad_release), live_queue("painter")
        )
        assert outcome(server, bad_release) == "broken-release"

        address = f"http://127.0.0.1:{env['STYLEDIFFUSER_METRICS_PORT']}/metrics"
        with urllib.request.urlopen(address) as answer:
            text = answer.read().decode()
        assert 'stylediffuser_worker_failures_total{kind="broken-release"} 4.0' in text

        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    lines = [_parsed(line) for line in (tmp_path / "log").read_text().splitlines()]
    refused = [line for line in lines if "refused (broken-release)" in line.get("message", "")]
    assert len(refused) == 4
    assert all(line["batch"] and line["release"] == bad_release[:12] for line in refused)


def _parsed(line: str) -> dict:
    """Celery's banner is no record."""
    try:
        return json.loads(line)
    except ValueError:
        return {}


def test_the_operators_command_forgives(env, bad_release):
    book = FaultyReleases(Path(env["STYLEDIFFUSER_WORKER_HOME"]) / "faulty.json", software())
    Path(env["STYLEDIFFUSER_WORKER_HOME"]).mkdir(parents=True, exist_ok=True)
    for _ in range(3):
        book.failed(bad_release, "bad")
    argv = [sys.executable, "-m", "generator_worker", "forgive", bad_release[:8]]
    done = subprocess.run(argv, env=env, capture_output=True, text=True)
    assert (done.returncode, book.listed()) == (0, ())
    assert f"Release {bad_release[:12]} is tried again" in done.stdout
    again = subprocess.run(argv, env=env, capture_output=True, text=True)
    assert (again.returncode, "no such faulty release" in again.stderr) == (1, True)


def test_it_can_be_stopped_before_it_may_work(start, server):
    process = start()
    server.hear(HEARTBEAT, lambda beat: beat["state"] == State.STARTING)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + PATIENCE
    while not (looking := children.read_text().split()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert looking and not Path(f"/proc/{looking[0]}").exists()


def test_a_metrics_port_that_is_taken_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        env = {
            **os.environ,
            "STYLEDIFFUSER_WORKER_HOME": str(tmp_path),
            "STYLEDIFFUSER_METRICS_PORT": str(port),
        }
        argv = [sys.executable, "-m", "generator_worker"]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert f"STYLEDIFFUSER_METRICS_PORT: 127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_slow_fetch_tells_how_far_it_is_and_goes_on_after_a_stop(
    server, start, env, tmp_path, monkeypatch
):
    read = Dropbox.read

    def slowly(dropbox, file, offset, size):
        time.sleep(0.04)  # 32 KiB each: 0.8 MiB/s
        return read(dropbox, file, offset, size)

    monkeypatch.setattr(Dropbox, "read", slowly)
    weights = os.urandom(MIB) * 6
    with come(tmp_path / "server", env) as sftp:
        digest = serve(sftp.root / "checkpoints", "large", {"model.safetensors": weights})
        process = start()
        server.send(GENERATE_BATCH, order_for(digest), worker_queue("painter"))
        told = server.hear(BATCH_PROGRESS, lambda told: told["note"] == "fetching 2 of 6 MiB")
        assert told["fraction"] == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        draft = tmp_path / "worker" / "releases" / f".{digest}" / "model.safetensors"
        here = draft.stat().st_size // MIB
        assert 2 <= here < 6
        assert server.client.llen(worker_queue("painter")) == 1

        start()
        told = server.hear(BATCH_PROGRESS, lambda told: told["note"].startswith("fetching"))
        assert told["note"] != "fetching 0 of 6 MiB"
        # It came whole, and is no release; nothing else was ever complained of.
        failed = server.hear(BATCH_FAILED, lambda told: True)
        assert (failed["kind"], "model.safetensors" in failed["reason"]) == (
            "broken-release",
            False,
        )
        folder = tmp_path / "worker" / "releases" / digest
        assert (folder / "model.safetensors").read_bytes() == weights
