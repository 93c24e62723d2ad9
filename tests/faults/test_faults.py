"""The faults as tests: the fast half in every run, the others with `-m faults`.

`make faults` plays all of them in rounds and draws up the table.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import report, scenarios  # noqa: F401 (registers the faults)
from tests.faults.fault import FAULTS, Fault
from tests.faults.ground import Ground
from tests.faults.rig import Rig
from tests.faults.scene import Stage

SLOW = pytest.mark.faults
CASES = [
    pytest.param(fault, id=fault.name, marks=() if fault.fast else SLOW)
    for fault in FAULTS.values()
]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[Stage]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        rig = Rig(tmp_path_factory.mktemp("faults") / "home", bundle, Ground.demo())
        try:
            stage = Stage(rig)
            stage.open()
            yield stage
        finally:
            rig.end()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", CASES)
def test_nothing_is_lost_or_doubled(stage: Stage, fault: Fault) -> None:
    outcome = stage.play(fault)
    print(report.line(outcome))
    if outcome.skipped:
        pytest.skip(outcome.skipped)
    assert outcome.holds, "\n".join(outcome.complaints)
