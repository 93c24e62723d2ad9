"""A worker's clock is wrong, or jumps: see false_clock.c."""

from __future__ import annotations

import shutil

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
    scene.rig.turn_clock(2 * 3600)
    scene.clock()
    scene.back()
