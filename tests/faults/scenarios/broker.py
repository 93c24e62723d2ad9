"""The broker dies, comes and goes, forgets everything, or is cut off unnoticed."""

from __future__ import annotations

import os
import shutil
import signal
import time
from datetime import UTC, datetime

from tests.faults.fault import fault
from tests.faults.scene import Scene
from tests.integration.house import copy_of


@fault("kill -9 of the broker while idle", seconds=30, batches=0)
def broker_killed_idle(scene: Scene) -> None:
    scene.rig.kill("broker")
    time.sleep(1)
    scene.rig.start("broker")
    scene.clock()
    scene.rush()
    scene.back()


@fault("kill -9 of the broker, mid-batch", seconds=30, batches=0, fast=True)
def broker_killed_mid_batch(scene: Scene) -> None:
    scene.mid_batch()
    scene.rig.kill("broker")
    time.sleep(1)
    scene.rig.start("broker")
    scene.clock()
    scene.back()


@fault("the broker comes and goes five times, mid-batch", seconds=30, batches=0)
def broker_flapping(scene: Scene) -> None:
    scene.mid_batch()
    for pause in (0.3, 2.0, 0.5, 3.0, 1.0):
        scene.rig.kill("broker")
        time.sleep(pause)
        scene.rig.start("broker")
        time.sleep(pause)
    scene.clock()
    scene.back()


@fault("kill -9 of the broker just as the server's task ends", seconds=30, batches=0)
def broker_killed_at_an_acknowledgement(scene: Scene) -> None:
    """The moment at which a Celery consumer can go deaf for ever: see messaging/link.py."""
    busy = scene.rig.children("server")
    for pid in busy:
        os.kill(pid, signal.SIGSTOP)  # its task takes longer
    time.sleep(3)
    os.kill(scene.rig.pid("broker"), signal.SIGSTOP)
    for pid in busy:
        os.kill(pid, signal.SIGCONT)
    time.sleep(1)  # the task ends, its acknowledgement gets no answer
    scene.rig.kill("broker")
    scene.rig.start("broker")
    scene.clock()
    scene.rush()
    scene.back()


@fault("broker link of the worker half-open, mid-batch, a second order on its way", seconds=70)
def worker_link_half_open(scene: Scene) -> None:
    scene.mid_batch()
    scene.rush(leave=20)
    scene.rig.worker_wire.swallow()
    scene.clock()
    _allow_until_deadline(scene)
    scene.back()


@fault("broker links of the server half-open, mid-batch", seconds=70)
def server_links_half_open(scene: Scene) -> None:
    scene.mid_batch()
    scene.rig.server_wire.swallow()
    scene.clock()
    _allow_until_deadline(scene)
    scene.back()


@fault("broker wiped: an order drawn, one waiting, a preview asked for", seconds=70, ours=True)
def broker_wiped(scene: Scene) -> None:
    rig = scene.rig
    draft = copy_of(rig.bundle, rig.home / "wiped")
    scene.mid_batch()
    scene.rush(leave=20)
    job = rig.clerk("ask_preview", str(draft))
    scene.wait("two orders", lambda: len(scene.batches("toon", "ordered")) > 1, 20)
    open_before = {batch["id"] for batch in scene.batches("toon", "ordered")}
    rig.kill("broker")
    for left in (rig.home / "valkey").iterdir():
        if left.is_dir():
            shutil.rmtree(left)
        elif left.suffix != ".conf":
            left.unlink()
    wiped_at = datetime.now(UTC)
    rig.start("broker")
    scene.clock()
    _allow_until_deadline(scene)
    scene.back(
        lambda: (
            not open_before & {b["id"] for b in scene.batches("toon", "ordered")}
            and rig.clerk("job", job)["state"] == "done"
        )
    )
    again = [
        batch
        for batch in scene.batches()
        if batch["id"] in open_before and datetime.fromisoformat(batch["rung_at"]) > wiped_at
    ]
    scene.note(f"{len(open_before)} orders were open, {len(again)} rung for again")
    scene.note(f"the preview came at attempt {rig.clerk('job', job)['attempt']}")


def _allow_until_deadline(scene: Scene) -> None:
    """The rows say until when the open orders may take; then 10 s more."""
    deadlines = [datetime.fromisoformat(b["deadline"]) for b in scene.batches("toon", "ordered")]
    left = max((at - datetime.now(UTC)).total_seconds() for at in deadlines)
    scene.allow(left + 10, "deadline + 10 s")
    scene.note(f"deadline in {left:.0f} s")
