from __future__ import annotations

from tests.faults.fault import fault
from tests.faults.scene import Scene


@fault("nothing at all: how long a batch takes (T)", seconds=120, batches=0, ours=True, fast=True)
def undisturbed(scene: Scene) -> None:
    scene.rush()
    scene.clock()
    scene.back()
    assert scene.outcome.recovery is not None
    scene.set_batch_seconds(scene.outcome.recovery)
