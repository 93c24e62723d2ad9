"""A worker gone bad, at the broker: real Redis with its accounts, the server's real consumer.

What it can do is what it is for, report about its own work. The other door, SFTP, is in
test_sshd.py; what the server makes of what it delivers is in tests/webgui/buffer/test_ingest.py.
"""

from __future__ import annotations

import base64
import contextlib
import json
import pickle
import sqlite3
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from generator_worker.app import celery_app
from generator_worker.config import Config
from generator_worker.contract import HEARTBEAT, INGEST_QUEUE, SERVER_QUEUE, own_queues
from generator_worker.contract import Heartbeat as Beat
from generator_worker.reports import Reports
from messaging import seals
from tests.deploy import processes
from tests.deploy.broker_host import PASSWORDS, Broker, broker_host


@dataclass
class Scene:
    """`thief` holds the secrets of gpu1; gpu2 is honest."""

    broker: Broker
    env: dict[str, str]
    thief: redis.Redis
    keys: dict[str, dict[str, str]]
    log: Path

    def reports(self, name: str) -> Reports:
        env = self.keys[name]
        config = Config.from_env(env)
        return Reports(celery_app(config), name, seals.key_of(config.broker_url))

    def beat(self, name: str, software: str) -> None:
        assert self.reports(name).heartbeat(heartbeat(name, software))

    def is_heard(self, name: str, software: str) -> bool:
        return (name, software) in self.standing()

    def standing(self) -> list[tuple[str, str]]:
        """The workers that the server knows, and what each says that it runs."""
        database = sqlite3.connect(self.broker.folder / "home" / "db.sqlite3")
        with contextlib.closing(database):
            return database.execute("SELECT name, software FROM fleet_worker").fetchall()


def heartbeat(name: str, software: str) -> Beat:
    return Beat(worker=name, software=software, device="cpu", memory_bytes=1)


ENROL = """
from django.core.management import call_command
call_command("migrate", verbosity=0)
for name in ("gpu1", "gpu2", "gone"):
    print("WORKER")
    call_command("add_worker", name)
"""


def enrol(env: dict[str, str]) -> dict[str, dict[str, str]]:
    """The settings of three new workers, by their names."""
    found = {}
    for block in processes.shell(env, ENROL).split("WORKER\n")[1:]:
        lines = [line for line in block.splitlines() if line.startswith("STYLEDIFFUSER_")]
        settings = dict(line.split("=", 1) for line in lines)
        found[settings["STYLEDIFFUSER_WORKER_NAME"]] = settings
    return found


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("stolen")
    sftp = folder / "home" / "sftp"
    sftp.mkdir(parents=True)
    (sftp / "host_key.pub").write_text("ssh-ed25519 AAAA\n")
    log = folder / "server.log"
    command = [sys.executable, "-m", "celery", "-A", "webgui.config.celery", "worker"]
    command += ["--beat", "--loglevel", "INFO", "-c", "1", "-Q", f"{SERVER_QUEUE},{INGEST_QUEUE}"]

    def is_up() -> bool:
        return log.exists() and b"ready" in log.read_bytes()

    with broker_host(folder) as broker:
        env = processes.server_env(
            folder / "home", BROKER_URL=broker.url("server"), BROKER_ADMIN_URL=broker.url("admin")
        )
        keys = enrol(env)
        thief = redis.Redis.from_url(keys["gpu1"]["STYLEDIFFUSER_BROKER_URL"])
        with processes.running(command, env, log, is_up):
            yield Scene(broker, env, thief, keys, log)


def letter(task: Any, kwargs: Any, **changes: Any) -> str:
    """A message as the thief would write one by hand."""
    embedded = changes.pop("embedded", {"callbacks": None})
    body = changes.pop("body", json.dumps([[], kwargs, embedded]).encode())
    headers = {"task": task, "id": str(uuid.uuid4()), **changes.pop("headers", {})}
    properties = {
        "delivery_tag": str(uuid.uuid4()),
        "body_encoding": "base64",
        "delivery_info": {"exchange": "", "routing_key": SERVER_QUEUE},
        **changes.pop("properties", {}),
    }
    return json.dumps(
        {
            "body": base64.b64encode(body).decode(),
            "content-type": "application/json",
            "content-encoding": "utf-8",
            "headers": headers,
            "properties": properties,
            **changes,
        }
    )


def sealed_by(scene: Scene, name: str, task: str, kwargs: dict[str, Any], **changes: Any) -> str:
    key = seals.key_of(scene.keys[name]["STYLEDIFFUSER_BROKER_URL"])
    return letter(
        task, kwargs, headers={seals.HEADER: seals.seal(key, name, task, kwargs)}, **changes
    )


def said(scene: Scene, text: str) -> bool:
    return text in scene.log.read_text()


def settled(scene: Scene, software: str) -> None:
    """Everything thrown in before has been read, and the consumer hears an honest worker."""
    scene.beat("gpu2", software)
    processes.wait("gpu2 to be heard", lambda: scene.is_heard("gpu2", software), log=scene.log)
    server = scene.broker.client("server")
    for queue in (SERVER_QUEUE, INGEST_QUEUE):
        processes.wait(f"{queue} to be empty", lambda queue=queue: server.llen(queue) == 0)
    assert "Unrecoverable" not in scene.log.read_text()


def test_honest_reports_and_the_clocks_ticks_are_heeded(scene: Scene) -> None:
    settled(scene, "honest 1")
    assert not said(scene, "Not done") and not said(scene, "Dropped")


JUNK = [
    *("", "junk", "5", "[]", "{}", "null", '{"body": "x"}', "[" * 100_000, b"\xff\xfe\0"),
    letter(["list"], {}),
    letter("fleet.heartbeat", {}, body=b"nonsense"),
    letter("fleet.heartbeat", {}, headers={"timelimit": 5, "retries": "x"}, body=b"[1]"),
    letter("fleet.heartbeat", {}, properties={"body_encoding": "rot13"}, body=b"\xff"),
    letter("no.such_task", {}),
]


def test_junk_does_not_end_the_consumer(scene: Scene) -> None:
    for queue in (SERVER_QUEUE, INGEST_QUEUE):
        for junk in JUNK:
            scene.thief.lpush(queue, junk)
    settled(scene, "after junk")
    assert scene.log.read_text().count("Dropped") > len(JUNK)


def test_a_pickle_is_not_opened(scene: Scene, tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    class Calls:
        def __reduce__(self) -> Any:
            return Path.touch, (canary,)

    evil = pickle.dumps([[], {"message": Calls()}, {}])
    for kind in ("application/x-python-serialize", "application/json", "pickle", None):
        scene.thief.lpush(
            SERVER_QUEUE,
            letter("fleet.heartbeat", {}, body=evil, **{"content-type": kind}),
        )
    settled(scene, "after pickles")
    assert not canary.exists()
    pickle.loads(evil)  # noqa: S301  it would have sung
    assert canary.exists()


def test_tasks_of_the_server_are_not_done(scene: Scene) -> None:
    for task in ("buffer.prune", "studio.forget", "registry.tidy_uploads", "fleet.notify"):
        forged = f":{'0' * 64}"
        for queue in (SERVER_QUEUE, INGEST_QUEUE):
            scene.thief.lpush(queue, letter(task, {}))
            scene.thief.lpush(queue, letter(task, {}, headers={seals.HEADER: forged}))
            scene.thief.lpush(queue, sealed_by(scene, "gpu1", task, {}))
            about = {"message": {"worker": "gpu1"}}
            scene.thief.lpush(queue, sealed_by(scene, "gpu1", task, about))
        processes.wait(
            task, lambda task=task: scene.log.read_text().count(f"Not done: {task}") == 8
        )
    settled(scene, "after tasks")


def test_nothing_is_said_in_anothers_name(scene: Scene) -> None:
    for name in ("gpu2", "phantom"):
        kwargs = {"message": heartbeat(name, "a lie").wire()}
        scene.thief.lpush(SERVER_QUEUE, letter(HEARTBEAT, kwargs))
        scene.thief.lpush(SERVER_QUEUE, sealed_by(scene, "gpu1", HEARTBEAT, kwargs))
        own = seals.key_of(scene.keys["gpu1"]["STYLEDIFFUSER_BROKER_URL"])
        lie = {seals.HEADER: seals.seal(own, name, HEARTBEAT, kwargs)}
        scene.thief.lpush(SERVER_QUEUE, letter(HEARTBEAT, kwargs, headers=lie))
    settled(scene, "the truth")
    standing = str(scene.standing())
    assert "a lie" not in standing and "phantom" not in standing


def test_no_callback_and_no_way_round_into_anothers_queue(scene: Scene) -> None:
    kwargs = {"message": heartbeat("gpu1", "with callbacks").wire()}
    after = {"task": "buffer.prune", "args": [], "kwargs": {}, "options": {}, "immutable": True}
    to = own_queues("gpu2")[0]
    scene.thief.lpush(
        SERVER_QUEUE,
        sealed_by(
            scene,
            "gpu1",
            HEARTBEAT,
            kwargs,
            embedded={"callbacks": [after], "errbacks": [after], "chain": [after], "chord": None},
            properties={"delivery_info": {"exchange": to, "routing_key": to}, "reply_to": to},
        ),
    )
    processes.wait("it", lambda: scene.is_heard("gpu1", "with callbacks"), log=scene.log)
    done = scene.log.read_text().count("buffer.prune")
    settled(scene, "after callbacks")
    assert scene.log.read_text().count("buffer.prune") == done
    assert scene.broker.client("server").llen(to) == 0


def test_a_message_of_gigabytes_is_refused_at_the_door(scene: Scene) -> None:
    with pytest.raises((redis.ConnectionError, redis.ResponseError)):
        scene.thief.lpush(SERVER_QUEUE, b"x" * (5 << 20))
    settled(scene, "after a large one")


def test_what_a_revoked_worker_left_in_the_queue_is_not_heeded(scene: Scene) -> None:
    late = sealed_by(scene, "gone", HEARTBEAT, {"message": heartbeat("gone", "late").wire()})
    scene.beat("gone", "in time")
    processes.wait("it", lambda: scene.is_heard("gone", "in time"), log=scene.log)
    processes.manage(scene.env, "revoke_worker", "gone")
    scene.broker.client("server").lpush(SERVER_QUEUE, late)
    settled(scene, "after the revoked")
    assert not scene.is_heard("gone", "late")


def test_no_secret_is_in_the_servers_log(scene: Scene) -> None:
    """Last of all, after everything above."""
    text = scene.log.read_text()
    urls = [keys["STYLEDIFFUSER_BROKER_URL"] for keys in scene.keys.values()]
    secrets = [urlsplit(url).password or "" for url in urls] + [seals.key_of(url) for url in urls]
    secrets += [*PASSWORDS.values(), (scene.broker.folder / "home/secret_key").read_text().strip()]
    assert len(text) > 1000 and all(len(secret) > 15 for secret in secrets)
    assert not [secret for secret in secrets if secret in text]
