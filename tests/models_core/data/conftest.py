"""A small recipe of the demo's kind, built once for the tests that only look at it."""

from pathlib import Path

import pytest

from models_core.data.build import build
from models_core.data.recipe import Recipe

SMALL = """
name = "small"
style = "toon-head"
count = {count}
seed = "small"
image_size = 32
crop = [0.08, 0.01, 0.84]

[groups."hair colour"]
"pink hair" = {{ hairColor = "#f48fb1", weight = 2 }}
"black hair" = {{ hairColor = "#2c1b18" }}

[groups."hair length"]
"short hair" = {{ rearHairProbability = 0 }}
"long straight hair" = {{ rearHairVariant = "longStraight", rearHairProbability = 100 }}

[groups."beard"]
"no beard" = {{ beardProbability = 0, tag = "" }}
"full beard" = {{ beardVariant = "fullBeard", beardProbability = 100 }}

[[rules]]
when = {{ "beard" = ["full beard"] }}
then = {{ "hair length" = ["short hair"] }}
"""


def write_small(folder: Path, count: int = 40) -> Path:
    file = folder / "small.toml"
    file.write_text(SMALL.format(count=count))
    return file


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Path:
    """The folder of a built set of 40. Look, do not touch."""
    folder = tmp_path_factory.mktemp("built")
    build(Recipe.read(write_small(folder)), folder / "small", processes=1)
    return folder / "small"
