"""The server and the workers mean the same by a release's parameters."""

from __future__ import annotations

import pytest

from generator_worker.curation import CurationError, Thresholds
from models_core.releases.assembly import LORA_WEIGHTS
from models_core.releases.sampling import RANGES, SCHEDULERS
from webgui.registry import parameters

CURATION = ("min_score", "max_unsafe", "min_distance")


def test_both_sides_have_the_same_bounds() -> None:
    mine = {
        name: (one.low, one.high)
        for name, one in parameters.PARAMETERS.items()
        if name not in CURATION
    }
    assert mine == RANGES
    whole = {name for name, one in parameters.PARAMETERS.items() if one.whole}
    assert whole == {name for name, (low, _) in RANGES.items() if isinstance(low, int)}
    assert parameters.SCHEDULERS == SCHEDULERS
    assert parameters.LORA_WEIGHT == LORA_WEIGHTS


@pytest.mark.parametrize("name", CURATION)
def test_curation_takes_what_the_form_takes(name: str) -> None:
    one = parameters.PARAMETERS[name]
    assert getattr(Thresholds.read({}), name) == one.usual
    for bound in (one.low, one.high):
        assert getattr(Thresholds.read({name: one.read(bound)}), name) == bound
    with pytest.raises(CurationError):
        Thresholds.read({name: one.high + 1})
    with pytest.raises(ValueError, match="from 0 to"):
        one.read(one.high + 1)


def test_numbers_of_forms_and_programs() -> None:
    found, faults = parameters.read({"steps": "12", "guidance": 1.5, "style_scale": "x"}, False)
    assert (found, faults) == ({"steps": 12, "guidance": 1.5}, {})  # no adapter: not looked at
    _, faults = parameters.read({"steps": 1.5, "strength": True, "guidance": "nan"}, True)
    assert set(faults) == {"params.steps", "params.strength", "params.guidance"}
