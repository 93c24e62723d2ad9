"""Training both encoders: they learn, explain themselves, and resume to the bit."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from models_core.__main__ import main
from models_core.critic.critic import Critic
from models_core.critic.network import CriticNetwork
from models_core.data.dataset import ImageFolder
from models_core.latent.encoder import Encoder
from models_core.latent.likeness import pixel_error
from models_core.latent.space import LatentSpace
from models_core.latent.style import StyleEncoder
from models_core.training import encoder, style_encoder
from models_core.training.encoder import EncoderTraining, OwnSamples
from models_core.training.run import Run, seed_step
from models_core.training.style_encoder import StyleEncoderTraining, ellipses
from tests.models_core.latent.conftest import SIZE
from tests.models_core.training.conftest import one_thread  # noqa: F401  autouse
from tests.models_core.training.test_stylegan2 import assert_same

RECIPE = """
generator = "{gan}"
data = "{data}"
judge = "{critic}"

[network]
widths = [8, 16, 16]
hidden = 16

[training]
seed = 1
batch = 4
steps = 60
refine_from = 6
lr = 4e-3
warmup = 2
ema = 0.9
mixing = 0.5
w_weight = 0.5
judge_weight = 0.5
spread_weight = 0.02
outside_weight = 1.0
log_every = 1
save_every = 5
sample_every = 20
"""


@pytest.fixture(scope="module")
def critic(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("critic")
    Critic(CriticNetwork(32, (8, 8))).save(folder)
    return folder


@pytest.fixture
def recipe(gan, data, critic, tmp_path) -> Path:
    file = tmp_path / "encoder.toml"
    file.write_text(RECIPE.format(gan=gan, data=data, critic=critic))
    return file


def encoder_job(recipe: Path, folder: Path) -> EncoderTraining:
    run = Run(folder, recipe)
    data = Path(run.recipe["data"])
    space = LatentSpace.open(Path(run.recipe["generator"]))
    return EncoderTraining(run, space, ImageFolder(data), ImageFolder(data, "validation"))


def test_own_samples_are_drawn_from_their_w(space, data):
    own = OwnSamples(space, ImageFolder(data), mixing=0.5)
    ws, x = own.draw(32, seed_step(1, 0))
    assert torch.allclose(space.synthesize(ws).clamp(-1, 1), x, atol=1e-5)
    mixed = (ws != ws[:, :1]).any(dim=2).any(dim=1).sum().item()
    assert 6 <= mixed <= 26
    mean, std = own.spread(3)
    assert mean.shape == std.shape == (12,)
    assert torch.equal(own.spread(3)[0], mean)
    assert (mean - space.w_avg).norm() < std.norm()


def test_own_samples_come_first_then_real_crops_too(recipe, tmp_path):
    job = encoder_job(recipe, tmp_path / "run")
    logs = [job.take_step() for _ in range(36)]
    assert [("real" in log) for log in logs] == [False] * 6 + [True] * 30
    assert sum(log["real"] for log in logs[-8:]) < 0.95 * sum(log["real"] for log in logs[6:14])


def test_w_is_learnt_from_own_samples_alone(recipe, tmp_path):
    recipe.write_text(recipe.read_text().replace("refine_from = 6", "refine_from = 1000"))
    job = encoder_job(recipe, tmp_path / "run")
    ws, x = job.own.draw(32, seed_step(9, 9))

    def error() -> float:
        with torch.no_grad():
            return ((job.model(x) - ws) / job.model.std).square().mean().item()

    before = error()
    for _ in range(60):
        job.take_step()
    assert error() < 0.97 * before


def test_the_generator_and_the_judge_stand_still(recipe, tmp_path, space):
    job = encoder_job(recipe, tmp_path / "run")
    for _ in range(8):
        job.take_step()
    assert_same(dict(job.space.generator.state_dict()), dict(space.generator.state_dict()))
    assert all(p.grad is None for p in job.likeness.parameters())


@pytest.mark.parametrize("loop", [encoder, style_encoder])
def test_a_stopped_run_resumes_to_the_same_weights(recipe, tmp_path, loop):
    loop.main(recipe, tmp_path / "parts", steps=4)
    (tmp_path / "parts" / "checkpoint.part").write_bytes(b"half a checkpoint")
    loop.main(recipe, tmp_path / "parts", steps=5)
    loop.main(recipe, tmp_path / "whole", steps=9)
    parts, whole = (Run(tmp_path / name, recipe).load() for name in ("parts", "whole"))
    assert parts["step"] == 9
    assert_same(parts, whole)


def test_a_run_explains_itself_and_exports_an_encoder(recipe, tmp_path, space, data):
    folder = tmp_path / "run"
    assert main(["train", "encoder", str(recipe), "--run", str(folder), "--steps", "20"]) == 0
    log = [json.loads(line) for line in (folder / "log.jsonl").open()]
    assert all(math.isfinite(value) for row in log for value in row.values())
    assert any("held_out_psnr" in row for row in log)
    assert (folder / "samples" / "000020.png").exists()
    assert "train encoder" in (folder / "README.txt").read_text()
    found = Encoder.from_folder(folder / "export")
    assert found.trained_for(space)
    pixels = np.array(ImageFolder(data).pixels("crop", SIZE)[:2])
    kept = Run(folder, recipe).load()["average"]
    assert torch.allclose(found.network.head.weight, kept["head.weight"], atol=1e-3)
    assert found.encode(pixels).shape == (2, space.num_ws, 12)


def test_a_style_encoder_is_exported_too(recipe, tmp_path, space):
    folder = tmp_path / "run"
    assert main(["train", "style-encoder", str(recipe), "--run", str(folder), "--steps", "20"]) == 0
    assert "train style-encoder" in (folder / "README.txt").read_text()
    assert (folder / "samples" / "000020.png").exists()
    StyleEncoder.from_folder(folder / "export").check(space)


def test_an_unconditional_generator_is_learnt_alike(recipe, gan, plain_gan, tmp_path):
    recipe.write_text(recipe.read_text().replace(str(gan), str(plain_gan)))
    encoder.main(recipe, tmp_path / "run", steps=8)
    style_encoder.main(recipe, tmp_path / "style", steps=3)
    assert Encoder.from_folder(tmp_path / "run" / "export").trained_for(LatentSpace.open(plain_gan))


def test_another_data_set_s_labels_are_refused(recipe, data, tmp_path, capsys):
    other = tmp_path / "other"
    (other / "train").mkdir(parents=True)
    (other / "validation").mkdir()
    for split in ("train", "validation"):
        (other / split / "metadata.jsonl").touch()
    (other / "dataset.json").write_text('{"tags": {"colour": {"red": 1}}}')
    recipe.write_text(recipe.read_text().replace(str(data), str(other)))
    assert main(["train", "encoder", str(recipe), "--run", str(tmp_path / "run")]) == 2
    assert "are not the generator's (1 against 5)" in capsys.readouterr().err


def test_examples_of_a_tag_show_what_it_changes(recipe, tmp_path):
    run = Run(tmp_path / "run", recipe)
    space = LatentSpace.open(Path(run.recipe["generator"]))
    job = StyleEncoderTraining(run, space, ImageFolder(Path(run.recipe["data"])))
    ws, x, source, mask, goal = job.examples(8, seed_step(1, 0))
    assert torch.allclose(space.synthesize(ws).clamp(-1, 1), x, atol=1e-5)
    # Where a tag's region is not, the goal hardly differs from the first picture.
    far = (goal - x)[:4].abs().mean(dim=1, keepdim=True) * (1 - mask[:4])
    near = (goal - x)[:4].abs().mean(dim=1, keepdim=True) * mask[:4]
    assert near.sum() > 2 * far.sum()
    assert torch.equal(goal[4:], source[4:])
    assert mask.unique().tolist() == [0, 1]


def test_the_style_encoder_learns_what_is_inside(recipe, tmp_path):
    run = Run(tmp_path / "run", recipe)
    space = LatentSpace.open(Path(run.recipe["generator"]))
    job = StyleEncoderTraining(run, space, ImageFolder(Path(run.recipe["data"])))
    ws, _, source, mask, goal = job.examples(32, seed_step(9, 9))

    def error() -> float:
        with torch.no_grad():
            return (
                pixel_error(space.synthesize(job.model(ws, source, mask)), goal, mask).mean().item()
            )

    before = error()
    for _ in range(40):
        job.take_step()
    assert error() < 0.97 * before


def test_ellipses_are_masks_of_many_sizes():
    torch.manual_seed(0)
    share = ellipses(64, 32).mean(dim=(1, 2, 3))
    assert share.min() > 0.005 and share.max() > 0.3
