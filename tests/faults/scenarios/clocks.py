"""A worker's clock is wrong, or jumps: see false_clock.c."""

from __future__ import annotations

import os
import shutil
import signal
import time

from tests.faults.fault import Missing, fault
from tests.faults.scene import Scene


def worker_with_clock(scene: Scene, offset: int) -> None:
    if shutil.which("cc") is None:
        raise Missing("a false clock needs a C compiler (apt install gcc libc6-dev)")
    scene.rig.with_false_clock("generator", offset)
    scene.clock()
    scene.wait(
        "a heartbeat of the restarted worker",
        lambda: scene.rig.clerk("workers")["a"] < scene.since() - 1,
        60,
    )
    scene.rush()
    scene.clock()
    scene.back()


@fault("a worker's clock 20 minutes ahead", ours=True)
def clock_ahead(scene: Scene) -> None:
    worker_with_clock(scene, 20 * 60)


@fault("a worker's clock 20 minutes behind", ours=True)
def clock_behind(scene: Scene) -> None:
    worker_with_clock(scene, -20 * 60)


@fault("a task outlives the visibility timeout (the clock jumps two hours, mid-batch)", ours=True)
def clock_jumps(scene: Scene) -> None:
    worker_with_clock(scene, 0)
    scene.mid_batch()
    rig, before = scene.rig, scene.rig.log("generator").count("is made already")
    child = rig.child("generator")
    os.kill(child, signal.SIGSTOP)  # the broker looks for what outlived its time every 30 s
    rig.turn_clock(2 * 3600)
    time.sleep(36)
    os.kill(child, signal.SIGCONT)
    scene.clock()
    scene.back()
    again = rig.log("generator").count("is made already") - before
    scene.expect(again > 0, "the broker did not hand the order out a second time")
    scene.note(f"handed out {again} more times")
