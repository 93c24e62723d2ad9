"""A small real data set of drawn avatars, built once for the critic's tests."""

from pathlib import Path

import pytest
import torch

RECIPE = Path("models_core/recipes/toon-data.toml").resolve()

TINY = """
data = "{folder}/own"
kinds = ["whole", "crop"]
faults = ["blur", "noise", "washed_out", "wobble", "part_muddled"]
parts = ["eyes", "mouth"]
[draw]
recipe = "{recipe}"
seed = "tests"
count = 120
[network]
size = 32
widths = [16, 24, 32]
[training]
seed = 3
batch = 16
steps = 120
lr = 4e-3
warmup = 5
weight_decay = 1e-4
average = 0.9
places = 0.3
per_fault = 6
log_every = 20
save_every = 10
[[snapshots]]
files = "{folder}/sheets/*.png"
tile = 16
strength = 0.9
"""


@pytest.fixture(scope="package")
def recipe(tmp_path_factory):
    """A recipe file whose data set is drawn at its first use."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("critic")
    file = folder / "recipe.toml"
    file.write_text(TINY.format(folder=folder, recipe=RECIPE))
    return file
