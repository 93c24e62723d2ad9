"""A worker with nothing but what add_worker gave it, at Redis and OpenSSH with deploy/'s settings,
and a server whose Celery and cache have no more than the `server` account: a whole order, previews,
one of them called off, and the end by revoke_worker."""

from __future__ import annotations

import hashlib
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from generator_worker.contract import cancel_queue, own_queues
from generator_worker.outbox import Outbox
from tests.deploy import processes
from tests.deploy.broker_host import Broker, broker_host
from tests.deploy.sftp_host import SftpHost, sftp_host
from tests.integration import tiny_release
from tests.integration.house import copy_of

BEGIN = """
from django.core.management import call_command
from pathlib import Path
from webgui.registry.loading import load_bundle
from webgui.studio import previews
call_command("migrate", verbosity=0)
call_command("add_worker", "gpu1", out=Path({home!r}) / "gpu1")
load_bundle(Path({slow!r}))
call_command("load_release", {bundle!r}, pool="confined", low=4, high=4, batch_size=4)
call_command("preview_release", {digest!r}, no_wait=True)
"""
CALL_OFF_THEN_CACHE = """
from django.core.cache import cache
from django.core.management import call_command
call_command("preview_release", {digest!r}, cancel=True)
cache.set("a", {{"b": 1}}, 60)
assert cache.get("a") == {{"b": 1}}
assert cache.add("n", 1, 60) and not cache.add("n", 2) and cache.incr("n") == 2
assert cache.get_many(["a", "n"]) == {{"a": {{"b": 1}}, "n": 2}}
assert cache.touch("a", 5) and cache.delete("a") and cache.get("a") is None
cache.clear()
print("cleared", cache.get("n"))
"""


@dataclass
class Place:
    folder: Path
    env: dict[str, str]
    broker: Broker
    host: SftpHost

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.folder / "home" / "db.sqlite3", timeout=20)) as database:
            return database.execute(sql).fetchall()

    def log(self, name: str) -> str:
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def wait(self, what: str, holds: Callable[[], Any]) -> None:
        try:
            processes.wait(what, holds, 120)
        except AssertionError as error:
            logs = "\n".join(self.log(name)[-4000:] for name in ("server", "worker"))
            raise AssertionError(f"{error}\n{logs}\n{self.host.log[-2000:]}") from error


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as stack:
        folder = stack.enter_context(processes.public_folder(processes.MEMORY))
        (folder / "broker").mkdir()
        broker = stack.enter_context(broker_host(folder / "broker"))
        # The server's processes are root here, as the test is: theirs need not be readable to all.
        host = stack.enter_context(sftp_host(server=0))
        env = processes.server_env(
            folder / "home",
            BROKER_URL=broker.url("server"),
            BROKER_ADMIN_URL=broker.url("admin"),
            WORKERS_SFTP=f"127.0.0.1:{host.port}",
            SFTP_ROOT=str(host.root),
            SFTP_ACCOUNTS=str(host.accounts),
            AVATAR_SIZE="128",
        )
        yield Place(folder, env | {"OMP_NUM_THREADS": "1"}, broker, host)


def worker_env(folder: Path, home: Path) -> dict[str, str]:
    """generator.env as it was written, and the two settings that are the GPU host's own."""
    lines = (folder / "generator.env").read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines)
    assert {path.stat().st_mode & 0o077 for path in folder.iterdir()} == {0}
    own = {
        "STYLEDIFFUSER_SFTP_KEY": str(folder / "worker_key"),
        "STYLEDIFFUSER_WORKER_HOME": str(home),
    }
    return {
        **processes.clean_env(METRICS_PORT="0", RELEASES=str(home / "none")),
        "OMP_NUM_THREADS": "1",
        **given,
        **own,
    }


@pytest.mark.timeout(600)
def test_an_enrolled_worker_draws_orders_and_jobs_and_is_shown_out(place, tmp_path):
    bundle = tmp_path / "shelf" / "tiny"
    bundle.parent.mkdir()
    digest = tiny_release.build(bundle)
    slow, slow_digest = slower(bundle, tmp_path / "slow")
    began = BEGIN.format(
        home=str(place.folder), bundle=str(bundle), slow=str(slow), digest=slow_digest
    )
    processes.shell(place.env, began)
    env = worker_env(place.folder / "gpu1", place.folder / "worker")
    serve = [sys.executable, "-m", "celery", "-A", "webgui.config.celery", "worker", "--beat"]
    serve += ["--concurrency", "2", "--loglevel", "INFO", "--without-gossip", "--without-mingle"]
    work = [sys.executable, "-m", "generator_worker"]
    logs = [place.folder / f"{name}.log" for name in ("server", "worker")]
    with (
        processes.running(serve, place.env, logs[0], lambda: True),
        processes.running(work, env, logs[1], lambda: True) as worker,
    ):
        place.wait(
            "a preview under way", lambda: place.rows("SELECT 1 FROM studio_job WHERE step > 0")
        )
        said = processes.shell(place.env, CALL_OFF_THEN_CACHE.format(digest=slow_digest))
        assert "cleared None" in said
        place.wait("the worker's stop", lambda: "is called off" in place.log("worker"))
        server = place.broker.client("server")
        assert server.llen(cancel_queue("gpu1")) == 0
        order = "SELECT state, worker, ingested_count FROM buffer_batch"
        place.wait("a whole order", lambda: ("ingested", "gpu1", 4) in place.rows(order))
        processes.manage(place.env, "preview_release", digest, "--no-wait")
        state = "SELECT state, worker FROM studio_job ORDER BY created_at"
        expected = [("cancelled", "gpu1"), ("done", "gpu1")]
        place.wait("another preview", lambda: place.rows(state) == expected)
        outbox = Outbox(place.folder / "worker" / "outbox")
        place.wait("receipts", lambda: not outbox.waiting())
        inbox = place.host.root / "inbox"
        assert [*(inbox / "new").iterdir(), *(inbox / "tmp").iterdir()] == []
        for log in (place.log("server"), place.log("worker")):
            assert "permission" not in log.lower(), log
        assert worker.poll() is None
        processes.manage(place.env, "revoke_worker", "gpu1")
        assert server.exists(*own_queues("gpu1")) == 0
        place.wait(
            "the broker's door", lambda: "invalid username-password" in place.log("worker").lower()
        )
        place.wait("the SFTP server's door", lambda: "is turned away" in place.host.log)


def slower(bundle: Path, folder: Path) -> tuple[Path, str]:
    """The same release with so many steps that there is time to call it off."""
    copy_of(bundle, folder)
    path = folder / "release.json"
    path.write_text(path.read_text().replace('"steps": 12', '"steps": 200'))
    return folder, hashlib.sha256(path.read_bytes()).hexdigest()
