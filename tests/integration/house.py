"""The whole service as real processes on loopback, the demo's own, one by one at our command."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import signal
import socket
import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from generator_worker.outbox import Outbox
from tests.integration.commands import Commands
from webgui.demo import services
from webgui.demo.process import Process

SERVICES = {
    "broker": services.broker,
    "sftp": services.sftp,
    "server": services.server_worker,
    "ingest": services.ingest_worker,
    "generator": services.generator,
    "web": services.web,
}


ORDER = """
from datetime import timedelta
from django.db import transaction
from django.utils import timezone
from webgui.buffer import orders
from webgui.buffer.models import Batch
from webgui.buffer.provision import point_pool
from webgui.registry.models import Release
release = Release.objects.get(digest="{digest}")
with transaction.atomic():  # with the batch under way, the pool lacks nothing
    pool, _ = point_pool("{slug}", release, low_watermark={images}, high_watermark={images})
    batch = Batch.objects.create(
        pool=pool, release=release, worker="{worker}", count={images}, base_seed={seed},
        deadline=timezone.now() + timedelta(seconds=300),
    )
orders.send_order(batch)
"""


class House:
    def __init__(self, home: Path) -> None:
        self.home = home
        self.web = socket.create_server(("127.0.0.1", 0))
        self.plan = services.plan(home, self.web)
        self.outbox = Outbox(home / "worker" / "outbox")
        self.processes: dict[str, Process] = {}
        self._commands: Commands | None = None

    def start(self, *names: str) -> None:
        for name in names:
            self.processes[name] = Process(SERVICES[name](self.plan))
            self.processes[name].start()

    def start_worker(self, name: str) -> None:
        """Another generator, of this name and with a disk of its own."""
        service = services.generator(self.plan)
        place = {
            "STYLEDIFFUSER_WORKER_NAME": name,
            "STYLEDIFFUSER_WORKER_HOME": str(self.home / "workers" / name),
            "STYLEDIFFUSER_METRICS_PORT": "0",
        }
        env = {**service.env, **place}
        self.processes[name] = Process(replace(service, env=env, log=self.plan.log(name)))
        self.processes[name].start()

    def outbox_of(self, name: str) -> Outbox:
        return Outbox(self.home / "workers" / name / "outbox")

    def pid(self, name: str) -> int:
        return self.processes[name]._popen.pid

    def child(self, name: str) -> int:
        """The pool's process of a Celery worker."""
        return self.children(name)[0]

    def children(self, name: str) -> list[int]:
        main = self.pid(name)
        listed = Path(f"/proc/{main}/task/{main}/children").read_text()
        return [int(pid) for pid in listed.split()]

    def kill(self, name: str) -> None:
        os.kill(self.pid(name), signal.SIGKILL)
        self.processes[name]._popen.wait()

    def stop(self, name: str, patience: float = 15) -> bool:
        """Ask to stop; whether it did so in time."""
        process = self.processes[name]
        process.end()
        ended = process.ended(time.monotonic() + patience)
        process.sweep()
        return ended

    def end(self) -> None:
        if self._commands is not None:
            self._commands.end()
        for process in self.processes.values():
            process.sweep()
        for sock in (self.web, self.plan.sftp):
            sock.close()

    def manage(self, *arguments: str) -> str:
        if self._commands is None:
            self._commands = Commands({**self.plan.server_env, "STYLEDIFFUSER_DATABASE_URL": ""})
        return self._commands(*arguments)

    def rows(self, sql: str, *arguments: Any) -> list[tuple]:
        with contextlib.closing(self.database()) as database:
            return database.execute(sql, arguments).fetchall()

    def database(self) -> sqlite3.Connection:
        """Where each statement is a transaction of its own, unless one is begun."""
        return sqlite3.connect(self.home / "db.sqlite3", timeout=20, isolation_level=None)

    def open_pool(self, slug: str, bundle: Path, images: int, batch_size: int) -> None:
        """A pool that wants so many images, and so has them ordered within seconds."""
        sizes = ["--low", str(images), "--high", str(images), "--batch-size", str(batch_size)]
        self.manage("load_release", str(bundle), "--pool", slug, "--activate", *sizes)

    def order(self, slug: str, bundle: Path, images: int, worker: str = "demo") -> None:
        """A pool with one batch under way that brings all it wants, however slow the worker is."""
        self.manage("load_release", str(bundle))
        digest = hashlib.sha256((bundle / "release.json").read_bytes()).hexdigest()
        seed = random.randrange(2**40)
        script = ORDER.format(slug=slug, digest=digest, images=images, worker=worker, seed=seed)
        self.manage("shell", "--no-imports", "-c", script)

    def batches(self, slug: str) -> list[tuple[str, str, str]]:
        """(id, state, reason) of the pool's batches."""
        found = self.rows(
            "SELECT b.id, b.state, b.reason FROM buffer_batch b JOIN buffer_pool p "
            "ON p.id = b.pool_id WHERE p.slug = ? ORDER BY b.ordered_at",
            slug,
        )
        return [(_dashed(batch_id), state, reason) for batch_id, state, reason in found]

    def available(self, slug: str) -> int:
        return self.rows(
            "SELECT count(*) FROM buffer_avatar a JOIN buffer_pool p ON p.id = a.pool_id "
            "WHERE p.slug = ? AND a.state = 'available'",
            slug,
        )[0][0]

    def drawing(self, slug: str) -> float:
        """How far the pool's open batch is, 0 while none is begun."""
        found = self.rows(
            "SELECT b.fraction FROM buffer_batch b JOIN buffer_pool p ON p.id = b.pool_id "
            "WHERE p.slug = ? AND b.state = 'ordered'",
            slug,
        )
        return max((fraction for (fraction,) in found), default=0.0)

    def log(self, name: str) -> str:
        return self.processes[name].service.log.read_text(errors="replace")

    def wait(self, what: str, holds: Callable[[], Any], seconds: float = 40) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                tails = "".join(
                    f"\n--- {name}\n{self.log(name)[-3000:]}" for name in self.processes
                )
                raise AssertionError(f"Not within {seconds:.0f} s: {what}{tails}")
            time.sleep(0.1)


def _dashed(batch_id: str) -> str:
    """SQLite keeps UUIDs without dashes."""
    parts = (batch_id[:8], batch_id[8:12], batch_id[12:16], batch_id[16:20], batch_id[20:])
    return "-".join(parts)


def copy_of(bundle: Path, target: Path) -> Path:
    """The same weights under another title, so another release."""
    shutil.copytree(bundle, target)
    text = (target / "release.json").read_text()
    (target / "release.json").write_text(text.replace("Tiny heads", target.name))
    return target
