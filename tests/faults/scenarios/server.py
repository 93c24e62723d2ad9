"""The server's own processes die at the worst moment, meet twice, or find the disk full."""

from __future__ import annotations

import os
import signal
import threading
import time
from uuid import uuid4

from tests.faults.fault import Missing, fault
from tests.faults.rig import can_mount, full
from tests.faults.scene import BATCH, MARK, POOL, Scene
from tests.faults.visitors import Visitor, Visits


def ingest_dies(scene: Scene, place: str) -> None:
    scene.rig.sabotage.arm(place)
    scene.rush()
    scene.wait(f"ingest's death {place}", lambda: scene.rig.sabotage.sprung(place), 90)
    scene.clock()
    scene.rig.start("ingest")
    scene.back()


@fault("kill -9 of ingest after the files moved", ours=True, fast=True)
def ingest_killed_after_move(scene: Scene) -> None:
    ingest_dies(scene, "after-move")


@fault("kill -9 of ingest before the commit", ours=True)
def ingest_killed_before_commit(scene: Scene) -> None:
    ingest_dies(scene, "before-commit")


@fault("kill -9 of ingest after the commit", ours=True)
def ingest_killed_after_commit(scene: Scene) -> None:
    ingest_dies(scene, "after-commit")


@fault("ingest hangs: heartbeats and orders go on", ours=True)
def ingest_hangs(scene: Scene) -> None:
    rig, busy = scene.rig, scene.rig.children("ingest")
    for pid in busy:
        os.kill(pid, signal.SIGSTOP)
    try:
        scene.rush()
        scene.wait("a delivery in the inbox", rig.ledger.in_inbox, 90)
        time.sleep(12)
        scene.expect(rig.clerk("workers")["a"] < 11, "no heartbeat was read meanwhile")
    finally:
        for pid in busy:
            os.kill(pid, signal.SIGCONT)
    scene.clock()
    scene.back()


@fault("kill -9 of the web server between a claim and its answer", ours=True, fast=True)
def web_killed_before_answering(scene: Scene) -> None:
    rig = scene.rig
    rig.sabotage.arm("before-answer")
    visitor = Visitor(scene.door, scene.visits)
    answered = visitor.ask()  # unless another visitor sprang the trap, it gets no answer
    scene.wait("the web server's death", lambda: rig.sabotage.sprung("before-answer"), 20)
    scene.clock()
    rig.start("web")
    scene.wait("the same claim's answer", lambda: answered or visitor.ask(), 30)
    scene.expect(_claim(scene, visitor.key) == scene.visits.served[-1:], "another image came")
    scene.rush()
    scene.back()


def _claim(scene: Scene, key: str) -> list[str]:
    answer = scene.door.claim(key)
    return [answer.json()["id"]] if answer.status_code == 201 else []


@fault("sixteen claim at once, then sixteen with one key", ours=True, batches=2, fast=True)
def sixteen_claimers(scene: Scene) -> None:
    visits = [Visits() for _ in range(16)]

    def claim_two(mine: Visits) -> None:
        for _ in range(2):
            visitor = Visitor(scene.door, mine)
            while not visitor.ask():
                time.sleep(0.5)

    _all_at_once([lambda mine=mine: claim_two(mine) for mine in visits])
    scene.clock()
    for mine in visits:
        scene.visits.add(mine)
    scene.expect(len({one for mine in visits for one in mine.served}) == 32, "not 32 avatars")
    key, got = str(uuid4()), set[str]()
    visitor = Visitor(scene.door, scene.visits, key)
    while not visitor.ask():
        time.sleep(0.5)
    _all_at_once([lambda: got.update(_claim(scene, key)) for _ in range(16)])
    scene.expect(got == set(scene.visits.served[-1:]), f"one key brought {len(got)} avatars")
    scene.back()


def _all_at_once(calls: list) -> None:
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@fault("two beats at once", ours=True, batches=2)
def two_beats(scene: Scene) -> None:
    rig, most = scene.rig, 0
    rig.start("server-2")
    scene.wait("the second clock", lambda: [*rig.home.glob("beat-schedule-2*")], 60)
    scene.rush(leave=20)
    scene.clock()

    def watched() -> bool:
        nonlocal most
        under_way = sum(b["count"] for b in scene.batches(POOL, "ordered", "delivered"))
        most = max(most, scene.level() + under_way)
        return True

    scene.back(watched)
    scene.expect(most < MARK + BATCH, f"{most} images were on hand or ordered at once")
    scene.note(f"at most {most} on hand and ordered, for a mark of {MARK}")


@fault("the database's disk full, mid-batch (503, nothing half-done)", ours=True)
def database_disk_full(scene: Scene) -> None:
    if not can_mount():
        raise Missing("mounting a small disk needs root")
    scene.mid_batch()
    visitor, told = Visitor(scene.door, scene.visits), []
    if scene.rig.ground.database == "SQLite":
        scene.rig.clerk("shorten_log")
    with full(scene.rig.database_disk):
        since = time.monotonic()
        while time.monotonic() - since < 8:
            told.append(scene.door.claim(visitor.key))
            time.sleep(1)
    scene.clock()
    codes = sorted({answer.status_code for answer in told})
    scene.note(f"claims answered {', '.join(map(str, codes))}")
    scene.expect(set(codes) <= {201, 202, 503}, f"claims were answered {codes}")
    if scene.rig.ground.database == "SQLite":
        scene.expect(503 in codes, "no claim was refused, so the disk was not full")
    for answer in told:
        if answer.status_code == 503:
            problem = answer.headers["Content-Type"].startswith("application/problem+json")
            scene.expect(problem and "Retry-After" in answer.headers, "a 503 that is no problem")
    scene.wait("the claim's answer", visitor.ask, 30)
    scene.rush()
    scene.back()
