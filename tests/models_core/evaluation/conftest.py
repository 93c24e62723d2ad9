"""A whole comparison at tiny size: real components, untrained, and drawn pictures of 32 pixels."""

from pathlib import Path

import pytest
import torch

from models_core.critic.critic import Critic
from models_core.critic.network import CriticNetwork
from models_core.metrics import tags, two_sample
from models_core.releases.build import build_release
from models_core.upscale.network import CompactNetwork
from models_core.upscale.upscaler import Upscaler
from tests.models_core.data.conftest import built, write_small
from tests.models_core.stylediffuser.conftest import make_pipeline

__all__ = ["built"]

RECIPE = """
release = "{folder}/release"
stable_diffusion = "{folder}/pipeline"
guidance = 1.5
tagged = "{tagged}"
tag_groups = ["hair colour"]
n = 8
quick = 8
first_seed = 500
batch = 3
[real]
data = "{folder}/real"
kind = "crop"
[real.draw]
recipe = "{drawing}"
seed = "comparison"
"""
TAGS = {
    "hair colour": {"pink hair": 0.6, "black hair": 0.4},
    "hair length": {"short hair": 0.7, "long straight hair": 0.3},
    "beard": {"full beard": 0.2},
}


@pytest.fixture(scope="module")
def folder(built, tmp_path_factory) -> Path:
    """With a release, a Stable Diffusion's folder and the recipe that compares them."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("comparison")
    pipeline = make_pipeline()
    with torch.no_grad():  # an adapter that changes something
        for parameter in pipeline.adapter.parameters():
            parameter.add_(0.3)
    pipeline.save_pretrained(folder / "pipeline")
    torch.manual_seed(0)
    Critic(CriticNetwork(32, (8, 8))).save(folder / "critic")
    Upscaler(CompactNetwork(features=4, layers=1, factor=4)).save(folder / "upscaler")
    build_release(
        folder / "release",
        {name: folder / name for name in ("pipeline", "critic", "upscaler")},
        name="tiny",
        title="Tiny heads",
        tags=TAGS,
        params={"steps": 3, "strength": 0.5, "truncation": 0.7, "prefix": ["toon style"]},
        licences=[{"name": "CC0", "of": "noise"}],
    )
    (folder / "recipe.toml").write_text(
        RECIPE.format(folder=folder, tagged=built, drawing=write_small(folder))
    )
    return folder


@pytest.fixture
def short(monkeypatch):
    """Hardly any training of the judges."""
    monkeypatch.setattr(two_sample, "FEWEST", 2)
    monkeypatch.setattr(tags, "STEPS", 2)
    monkeypatch.setattr(tags, "BATCH", 8)
