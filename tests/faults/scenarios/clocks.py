"""A worker's clock is wrong, or jumps, under libfaketime."""

from __future__ import annotations

from tests.faults.fault import Missing, fault
from tests.faults.ground import FAKETIME
from tests.faults.scene import Scene


def worker_with_clock(scene: Scene, offset: str) -> None:
    if not FAKETIME.exists():
        raise Missing("libfaketime is not installed (apt install libfaketime)")
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
    worker_with_clock(scene, "+20m")


@fault("a worker's clock 20 minutes behind", ours=True)
def clock_behind(scene: Scene) -> None:
    worker_with_clock(scene, "-20m")


@fault("a task outlives the visibility timeout (the clock jumps two hours, mid-batch)", ours=True)
def clock_jumps(scene: Scene) -> None:
    worker_with_clock(scene, "+0")
    scene.mid_batch()
    scene.rig.turn_clock("+2h")
    scene.clock()
    scene.back()
