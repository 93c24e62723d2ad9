"""Many batches through one worker, whose memory must not grow with them.

The worker is the real one with broker and SFTP server, and draws with a tiny release; the bench
plays the server: it orders, awaits the delivery, and answers the receipt. The pool's process is
kept for all batches (`TASKS_PER_CHILD`), since a new one every so often would hide a leak.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections import deque
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID, uuid4

import psutil

from generator_worker.contract import (
    BATCH_RECEIVED,
    GENERATE_BATCH,
    BatchReceipt,
    GenerateBatch,
    worker_queue,
)
from tests.bench.processes import run as run_to_end
from tests.bench.rows import Bar, Row, Size
from tests.bench.service import valkey
from tests.deploy.processes import ROOT, clean_env, running, wait
from tests.sftp_server import serving

NAME = "bench"
BUILD = "import sys, pathlib; from tests.integration import tiny_release as t; "
BUILD += "print(t.build(pathlib.Path(sys.argv[1])))"
IMAGES = 2
AHEAD = 4
"""Orders in flight, so that the worker never idles."""
PATIENCE = 120


def run(folder: Path, size: Size) -> list[Row]:
    batches = size(1000, 20)
    memory = _through(folder, batches)
    tenth = len(memory) // 10
    second, last = median(memory[tenth : 2 * tenth]), median(memory[-tenth:])
    return [
        Row(
            f"resident memory of one worker over {batches:,} batches, both its processes: the "
            "last tenth against the second",
            last / 2**20,
            second / 2**20,
            "MiB",
            # A tiny run is all warm-up: that it works is what it shows.
            Bar("≤", 2 if size.small else 1.05),
            notes=[f"highest: {max(memory) / 2**20:.0f} MiB"],
        )
    ]


def _through(folder: Path, batches: int) -> list[int]:
    """Bytes resident after each batch."""
    shelf = folder / "shelf"
    shelf.mkdir()
    digest = run_to_end([sys.executable, "-c", BUILD, shelf / "tiny"], clean_env()).split()[-1]
    with valkey(folder / "valkey") as broker, serving(folder) as sftp:
        env = clean_env(
            WORKER_NAME=NAME, BROKER_URL=broker, RELEASES=str(shelf), DEVICE="cpu",
            WORKER_HOME=str(folder / "worker"), TASKS_PER_CHILD="1000000",
        ) | sftp.env | {"OMP_NUM_THREADS": "1"}  # fmt: skip
        command = [sys.executable, "-m", "generator_worker"]
        inbox = folder / "sftp" / "inbox" / "new"
        with running(command, env, folder / "worker.log", lambda: True, cwd=ROOT) as process:
            sender = _sender(broker)
            orders = (_order(sender, digest) for _ in range(batches))
            open_orders = deque(islice(orders, AHEAD))
            memory = []
            while open_orders:
                _settle(sender, open_orders.popleft(), inbox, folder / "worker.log")
                memory.append(_resident(process.pid))
                open_orders.extend(islice(orders, 1))
            return memory


def _sender(broker: str) -> Any:
    from celery import Celery

    app: Any = Celery("bench", broker=broker)
    app.conf.update(task_ignore_result=True, task_create_missing_queues=True)
    return app


def _order(sender: Any, digest: str) -> UUID:
    order = GenerateBatch(
        batch_id=uuid4(),
        pool="toon",
        release_digest=digest,
        count=IMAGES,
        base_seed=time.monotonic_ns() % 2**50,
    )
    _send(sender, GENERATE_BATCH, order)
    return order.batch_id


def _settle(sender: Any, batch: UUID, inbox: Path, log: Path) -> None:
    """Await its delivery and answer as the server does."""
    wait(f"batch {batch}", (inbox / str(batch)).is_dir, PATIENCE, log=log)
    shutil.rmtree(inbox / str(batch))
    _send(sender, BATCH_RECEIVED, BatchReceipt(batch_id=batch))


def _resident(pid: int) -> int:
    main = psutil.Process(pid)
    return sum(process.memory_info().rss for process in [main, *main.children()])


def _send(sender: Any, task: str, message: Any) -> None:
    sender.send_task(task, kwargs={"message": message.wire()}, queue=worker_queue(NAME))
