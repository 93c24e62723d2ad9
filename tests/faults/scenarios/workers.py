"""The worker dies, stops, is stopped, or meets an order that kills it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter

import psutil

from tests.faults.fault import fault
from tests.faults.rig import Rig
from tests.faults.scene import BATCH, Scene


@fault("kill -9 of the worker's drawing process, mid-batch", fast=True)
def drawing_process_killed(scene: Scene) -> None:
    scene.mid_batch()
    os.kill(scene.rig.child("generator"), signal.SIGKILL)
    scene.clock()
    scene.back()


@fault("kill -9 of the worker's main process, mid-batch")
def worker_killed(scene: Scene) -> None:
    scene.mid_batch()
    child = scene.rig.child("generator")
    scene.rig.kill("generator")
    scene.clock()
    scene.wait("the child's end", lambda: not psutil.pid_exists(child), 5)
    scene.rig.start("generator")
    scene.back()


@fault("SIGTERM to the worker, mid-batch; started again", ours=True)
def worker_stopped_in_order(scene: Scene) -> None:
    scene.mid_batch()
    scene.clock()
    scene.expect(scene.rig.stop("generator"), "the worker did not stop within 20 s")
    scene.rig.start("generator")
    scene.back()


@fault("worker SIGSTOPped past its lease, another takes over; then continued", ours=True)
def worker_past_its_lease(scene: Scene) -> None:
    rig = scene.rig
    rig.start("generator-b")
    scene.wait("worker b", lambda: "b" in rig.clerk("workers"), 90)
    batch = scene.mid_batch("a")
    rig.signal_all("generator", signal.SIGSTOP)
    scene.clock()
    scene.back()
    scene.wait(
        "the stopped worker's batch from the other",
        lambda: _state(scene, batch["id"]) == "ingested",
        60,
    )
    rig.signal_all("generator", signal.SIGCONT)
    continued = time.monotonic()
    scene.wait("its heartbeat", lambda: rig.clerk("workers")["a"] < 5, 60)
    scene.note(f"heard of again {time.monotonic() - continued:.0f} s after being continued")


@fault("poison: an order that kills its process each time", ours=True)
def poison(scene: Scene) -> None:
    """The rig is the poison: it kills the process whenever it draws such an order."""
    rig, deaths = scene.rig, Counter[str]()
    rig.clerk("open_pool", "poison", str(rig.bundle), BATCH, BATCH, BATCH)
    try:
        while not (ended := scene.batches("poison", "failed", "quarantined")):
            for batch in scene.batches("poison", "ordered"):
                if _is_drawn(rig, batch["id"], deaths[batch["id"]]):
                    os.kill(rig.child("generator"), signal.SIGKILL)
                    deaths[batch["id"]] += 1
            assert scene.since() < 150, f"not given up after {deaths.total()} deaths"
            time.sleep(0.1)
    finally:
        rig.clerk("pause_pool", "poison", True)
    worst = max(deaths.values())
    scene.expect(worst == 3, f"one order killed {worst} times")
    scene.expect(deaths[ended[0]["id"]] == 3, "an order was given up that had not killed 3 times")
    scene.note(f"killed by {len(deaths)} orders, {', '.join(map(str, deaths.values()))} times")
    scene.note(f"given up: {ended[0]['reason'][:120]}")
    scene.rush()
    scene.clock()
    scene.back()


def _is_drawn(rig: Rig, batch: str, deaths: int) -> bool:
    """Whether the order was begun once more than it killed, and has images of this time: those of
    a process that died lie there until the order is drawn anew."""
    home = rig.home / "worker"
    journal, making = home / "orders" / f"{batch}.json", home / "outbox" / "making" / batch
    try:
        begun = journal.stat().st_mtime
        starts = json.loads(journal.read_bytes())["starts"]
        return starts > deaths and any(i.stat().st_mtime > begun for i in making.iterdir())
    except FileNotFoundError:
        return False


@fault("the broker hands the same order out twice", ours=True, fast=True)
def order_twice(scene: Scene) -> None:
    batch = scene.mid_batch()
    scene.rig.clerk("send_again", batch["id"], "a")
    scene.clock()
    scene.back()


@fault("two workers draw the same order", ours=True)
def order_on_two_workers(scene: Scene) -> None:
    scene.rig.start("generator-b")
    scene.wait("worker b", lambda: "b" in scene.rig.clerk("workers"), 90)
    batch = scene.mid_batch("a")
    scene.rig.clerk("send_again", batch["id"], "b")
    scene.clock()
    scene.back()
    scene.wait("both receipts", lambda: scene.rig.ledger.receipts_of(batch["id"]) == 2, 60)


def _state(scene: Scene, batch_id: str) -> str:
    return next(batch["state"] for batch in scene.batches() if batch["id"] == batch_id)
