"""A tiny data set made by the real builder, and a tiny training recipe on it."""

from pathlib import Path

import pytest
import torch

from models_core.data.build import build
from models_core.data.recipe import Recipe
from tests.models_core.data.conftest import write_small

STYLEGAN2 = """
data = "{data}"

[network]
img_resolution = 16
z_dim = 8
w_dim = 8
mapping_layers = 2
channel_base = 128
channel_max = 8
use_noise = true
conditional = true

[training]
seed = 1
batch = 4
kimg = {kimg}
lr = 2.5e-3
beta1 = 0.0
beta2 = 0.99
r1_gamma = 2.0
r1_interval = 4
pl_interval = 4
pl_weight = 2.0
mixing = 0.5
warmup_kimg = 0.06
likeness_weight = 2.0
ema_kimg = 0.1
log_every = 1
save_every = 7
sample_every = 20
"""


@pytest.fixture(autouse=True)
def one_thread():
    """Sums in another order give other bits; the killed process has one thread too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    build(Recipe.read(write_small(folder, count=60)), folder / "data", processes=1)
    return folder / "data"


@pytest.fixture
def recipe(data, tmp_path) -> Path:
    """40 steps of 4 images, the first 15 without D."""
    file = tmp_path / "stylegan2.toml"
    file.write_text(STYLEGAN2.format(data=data, kimg=0.16))
    return file
