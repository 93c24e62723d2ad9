"""StyleGAN2's losses against their definitions, and runs that are killed and resumed."""

import json
import math
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from models_core.__main__ import main
from models_core.data.dataset import ImageFolder, to_tensor
from models_core.stylegan2 import checkpoint
from models_core.stylegan2.recipe import Recipe
from models_core.stylegan2.runs import generator_config
from models_core.training.initial import InitialWeightsError
from models_core.training.run import Run
from models_core.training.stylegan2 import StyleGAN2Training
from models_core.training.stylegan2_metrics import SnapshotMetric

TIMES = ("images_per_s", "memory_mb")
ADA = """
[augmentation]
mode = "ada"
p = 0.3
classes = ["blit", "geometry", "colour", "filter", "noise", "cutout"]
heuristic = "{heuristic}"
interval = 2
kimg = 0.2
"""


def job_of(recipe: Path, data: Path, folder: Path) -> StyleGAN2Training:
    return StyleGAN2Training(
        Run(folder, recipe), ImageFolder(data), ImageFolder(data, "validation")
    )


def test_the_warm_up_moves_g_towards_the_drawings_while_d_learns_to_tell(recipe, data, tmp_path):
    recipe.write_text(recipe.read_text().replace("warmup_kimg = 0.06", "warmup_kimg = 9"))
    job = job_of(recipe, data, tmp_path / "run")
    rows = [job.take_step() for _ in range(60)]
    assert mean(rows[-10:], "likeness") < 0.8 * mean(rows[:10], "likeness")
    assert mean(rows[-10:], "d_loss") < 0.8 * mean(rows[:10], "d_loss")
    assert "g_loss" not in rows[-1]
    assert job.G.mapping.w_avg.abs().sum() > 0


def test_the_game_begins_without_the_warm_up_s_moments(recipe, data, tmp_path):
    job = job_of(recipe, data, tmp_path / "run")
    for _ in range(job.warmup):
        assert "g_loss" not in job.take_step()
    assert not job.G_opt.state
    assert job.D_opt.state
    assert "g_loss" in job.take_step()


def test_a_resumed_run_takes_the_rates_of_an_edited_recipe(recipe, data, tmp_path):
    job = job_of(recipe, data, tmp_path / "run")
    job.take_step()
    job.run.save(job.state())
    text = (tmp_path / "run/recipe.toml").read_text()
    edited = tmp_path / "edited.toml"
    edited.write_text(text.replace("lr = 2.5e-3", "lr = 1e-4\nd_lr = 3e-4"))
    resumed = StyleGAN2Training(Run(tmp_path / "run", edited), ImageFolder(data), None)
    assert resumed.step == 1
    (g,), (d,) = resumed.G_opt.param_groups, resumed.D_opt.param_groups
    lazy = resumed.cfg["r1_interval"] / (resumed.cfg["r1_interval"] + 1)
    assert (g["lr"], d["lr"]) == pytest.approx((1e-4 * lazy, 3e-4 * lazy))


def mean(rows: list[dict[str, float]], key: str) -> float:
    return sum(row[key] for row in rows) / len(rows)


def test_the_recipe_s_network_is_the_checkpoint_s(recipe, data, tmp_path):
    job = job_of(recipe, data, tmp_path / "run")
    network, c_dim = job.recipe.network.model_dump(), len(ImageFolder(data).vocabulary)
    assert job.config == generator_config(network, c_dim)


def test_a_killed_run_ends_with_the_weights_of_an_uninterrupted_one(recipe, tmp_path):
    """Killed twice, the first time as it begins to save, and resumed, all by the command line."""
    recipe.write_text(recipe.read_text() + ADA.format(heuristic="r_v"))
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    kill_at(recipe, killed, 14)
    (killed / "checkpoint.part").write_bytes(b"half a checkpoint")
    kill_at(recipe, killed, random.randint(22, 30))
    assert 21 <= Run(killed, recipe).load()["step"] < 40
    for folder in (killed, whole):
        assert main(["train", "stylegan2", str(recipe), "--run", str(folder)]) == 0
    resumed, straight = Run(killed, recipe).load(), Run(whole, recipe).load()
    assert resumed["step"] == straight["step"] == 40
    assert_same(resumed, straight)
    assert straight["strength"]["p"] != 0.3  # steered, not only carried along
    logs = [read_log(folder) for folder in (killed, whole)]
    assert [row["step"] for row in logs[0]] == list(range(1, 41))
    for one, other in zip(*logs, strict=True):
        assert [one[name] for name in one if name not in TIMES] == [
            other[name] for name in other if name not in TIMES
        ]


def kill_at(recipe: Path, folder: Path, step: int) -> None:
    """Start training and kill it when it reports `step`: before, in or after a save."""
    command = [sys.executable, "-m", "models_core", "train", "stylegan2", recipe, "--run", folder]
    command += ["--threads", "1", "--steps", "100000"]  # it ends by the kill alone
    job = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert job.stdout is not None
    for line in job.stdout:
        if json.loads(line)["step"] >= step:
            job.send_signal(signal.SIGKILL)
            break
    assert job.wait() == -signal.SIGKILL


def read_log(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def assert_same(a, b) -> None:
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert a == b


def test_a_run_explains_itself_and_becomes_a_checkpoint(recipe, data, tmp_path, capsys):
    folder = tmp_path / "run"
    assert main(["train", "stylegan2", str(recipe), "--run", str(folder), "--steps", "20"]) == 0
    assert (folder / "recipe.toml").read_text() == recipe.read_text()
    log = [json.loads(line) for line in (folder / "log.jsonl").open()]
    assert [row["step"] for row in log] == list(range(1, 21))
    assert all(math.isfinite(value) for row in log for value in row.values())
    assert [("g_loss" in row) for row in log] == [False] * 15 + [True] * 5
    assert {"d_loss", "g_loss", "likeness", "r_t", "r1", "pl"} <= log[16].keys()
    assert [file.name for file in (folder / "samples").iterdir()] == ["00000.png"]

    rules = data.parent / "small.toml"
    arguments = ["convert", "stylegan2-run", str(folder), "--fp32", "--rules", str(rules)]
    assert main(arguments) == 0
    about = checkpoint.describe(folder / "generator")
    assert about.tags == ImageFolder(data).summary["tags"]
    assert about.rules[0]["when"] == {"beard": ["full beard"]}
    ema = Run(folder, recipe).load()["G_ema"]
    assert_same(dict(checkpoint.load(folder / "generator").state_dict()), dict(ema))


def test_what_is_no_run_is_told(tmp_path, capsys):
    assert main(["convert", "stylegan2-run", str(tmp_path)]) == 2
    assert "is not a training run" in capsys.readouterr().err
    (tmp_path / "recipe.toml").write_text("[network]\n")
    assert main(["convert", "stylegan2-run", str(tmp_path)]) == 2
    assert "holds no snapshots" in capsys.readouterr().err


def test_a_recipe_s_faults_are_all_told_and_nothing_is_written(recipe, tmp_path, capsys):
    text = recipe.read_text().replace("batch = 4", "batch = 6").replace("lr =", "rate =")
    recipe.write_text(text.replace("kimg = 0.16\n", ""))
    assert main(["train", "stylegan2", str(recipe), "--run", str(tmp_path / "run")]) == 2
    told = capsys.readouterr().err
    assert "training.rate is not a key" in told and "training.kimg is missing" in told
    assert not (tmp_path / "run").exists()
    recipe.write_text(text.replace("rate =", "lr ="))
    assert main(["train", "stylegan2", str(recipe), "--run", str(tmp_path / "run")]) == 2
    assert "not a multiple of network.mbstd_group" in capsys.readouterr().err


def test_held_out_pictures_must_be_there_where_needed(recipe, data, tmp_path, capsys):
    """Told before the first step, not at the first measurement."""
    empty = tmp_path / "data"
    shutil.copytree(data, empty)
    (empty / "validation" / "metadata.jsonl").write_text("")
    text = recipe.read_text().replace(str(data), str(empty))
    for extra, what in (
        ("[metrics]\nevery = 5\n", "metrics"),
        (ADA.format(heuristic="r_v"), "r_v"),
    ):
        recipe.write_text(text + extra)
        assert main(["train", "stylegan2", str(recipe), "--run", str(tmp_path / "run")]) == 2
        told = capsys.readouterr().err
        assert "holds 0 pictures" in told and what in told
    assert not (tmp_path / "run").exists()


def test_the_shipped_recipe_is_a_recipe():
    recipe = Recipe.read(Path(__file__).parents[3] / "models_core/recipes/toon-stylegan2.toml")
    assert recipe.augmentation.mode == "off"
    assert recipe.training.warmup_kimg < recipe.training.kimg


def test_gamma_follows_the_size_where_the_recipe_is_silent(recipe):
    text = recipe.read_text().replace("r1_gamma = 2.0\n", "")
    recipe.write_text(text)
    assert Recipe.read(recipe).r1_gamma == pytest.approx(0.0002 * 16 * 16 / 4)


def test_a_checkpoint_from_before_augmentation_goes_on(recipe, data, tmp_path):
    job = job_of(recipe, data, tmp_path / "run")
    job.take_step()
    state = job.state()
    del state["strength"]
    job.run.save(state)
    recipe.write_text(recipe.read_text() + ADA.format(heuristic="r_t"))
    again = job_of(recipe, data, tmp_path / "run")
    assert again.step == 1
    assert again.strength.p == 0.3


def test_p_follows_the_mode(recipe, data, tmp_path):
    text = recipe.read_text().replace("warmup_kimg = 0.06", "warmup_kimg = 0")
    ada = ADA.format(heuristic="r_v")
    rows = {}
    for mode in ("off", "fixed", "ada"):
        recipe.write_text(text + ada.replace('"ada"', f'"{mode}"'))
        job = job_of(recipe, data, tmp_path / mode)
        rows[mode] = [job.take_step() for _ in range(4)]
    assert all("p" not in row for row in rows["off"])
    assert [row["p"] for row in rows["fixed"]] == [0.3] * 4
    # Two minibatches of four images move p by 8/200.
    assert rows["ada"][0]["p"] == rows["ada"][1]["p"] == 0.3
    assert abs(rows["ada"][2]["p"] - 0.3) == pytest.approx(0.04)
    assert ["r_v_steering" in row for row in rows["ada"]] == [False, True, False, True]
    # D's steps differ only by what it sees the images through.
    assert rows["off"][0]["d_loss"] != rows["fixed"][0]["d_loss"]


def test_pictures_are_mirrored_only_where_they_may_be(recipe, data, tmp_path):
    recipe.write_text(recipe.read_text().replace("mixing = 0.5", "mixing = 0.5\nmirror = true"))
    job = job_of(recipe, data, tmp_path / "run")
    crops = job.train_set

    def shares() -> tuple[float, float]:
        originals, mirrored = 0, 0
        for step in range(20):
            order = torch.Generator().manual_seed(step)
            images, _ = crops.batch(8, order)
            index = torch.randint(len(crops.pixels), (8,), generator=order.manual_seed(step))
            plain = to_tensor(crops.pixels[index.sort().values.numpy()])
            originals += sum(torch.equal(a, b) for a, b in zip(images, plain, strict=True))
            mirrored += sum(torch.equal(a, b.flip(2)) for a, b in zip(images, plain, strict=True))
        return originals / 160, mirrored / 160

    crops.flip[:] = False
    assert shares()[0] == 1
    crops.flip[:] = True
    originals, mirrored = shares()
    assert originals == pytest.approx(0.5, abs=0.15) and mirrored == pytest.approx(0.5, abs=0.15)


def test_a_run_may_start_from_exported_weights(recipe, data, tmp_path):
    first = job_of(recipe, data, tmp_path / "first")
    for _ in range(3):
        first.take_step()
    prototype = tmp_path / "prototype"
    first.export(prototype)
    folder = tmp_path / "generator"
    tags = ImageFolder(data).summary["tags"]
    checkpoint.save(first.config, first.G_ema.state_dict(), folder, tags=tags)
    plain = recipe.read_text()
    for source, tolerance in ((prototype, 0), (folder, 2e-3)):  # fp16 in the folder
        recipe.write_text(f'init = "{source}"\n{plain}')
        job = job_of(recipe, data, tmp_path / source.name / "run")
        for name, value in first.G_ema.state_dict().items():
            assert torch.allclose(job.G.state_dict()[name], value, atol=tolerance, rtol=1e-3)
            assert torch.equal(job.G.state_dict()[name], job.G_ema.state_dict()[name])
        job.take_step()  # trains
        job.run.save(job.state())
        assert job_of(recipe, data, tmp_path / source.name / "run").step == 1

    discriminator = {n: v.contiguous() for n, v in first.D.state_dict().items()}
    (folder / "discriminator").mkdir()
    save_file(discriminator, folder / "discriminator" / "model.safetensors")
    job = job_of(recipe, data, tmp_path / "with-d")
    assert_same(dict(job.D.state_dict()), discriminator)


def test_weights_of_another_network_or_other_tags_are_refused(recipe, data, tmp_path):
    first = job_of(recipe, data, tmp_path / "first")
    first.export(tmp_path / "prototype")
    recipe.write_text(f'init = "{tmp_path / "prototype"}"\n{recipe.read_text()}')
    wider = tmp_path / "wider.toml"
    wider.write_text(recipe.read_text().replace("channel_max = 8", "channel_max = 16"))
    with pytest.raises(InitialWeightsError, match="does not fit the recipe's network"):
        job_of(wider, data, tmp_path / "wider")
    config = tmp_path / "prototype" / "config.json"
    config.write_text(config.read_text().replace("pink hair", "plaid hair"))
    with pytest.raises(InitialWeightsError, match=r"other tags.*'pink hair'"):
        job_of(recipe, data, tmp_path / "other")


def test_the_metric_compares_snapshots_with_real_pictures(recipe, data, tmp_path):
    seen: list[np.ndarray] = []

    def features(images: np.ndarray) -> torch.Tensor:
        seen.append(images)
        return torch.from_numpy(images.reshape(len(images), -1)[:, :3].astype(np.float32))

    job = job_of(recipe, data, tmp_path / "run")
    pixels = ImageFolder(data).pixels("crop", 16)[:20]

    def means_apart(real: torch.Tensor, made: torch.Tensor) -> float:
        return (real.mean(dim=0) - made.mean(dim=0)).norm().item()

    labels = job.train_set.labels[:20]
    metric = SnapshotMetric(features, means_apart, "apart_20", pixels, labels, 20, 7)
    assert [step for step in range(7, 50, 7) if metric.due(step)] == [21, 42]
    first, again = (metric.measure(job.draw, job.G.z_dim) for _ in range(2))
    assert first == again and first["apart_20"] > 0
    assert [len(images) for images in seen] == [20, 20, 20]
    same = metric.measure(lambda z, c: pixels[: len(z)] if len(z) == 20 else pixels, 8)
    assert same["apart_20"] == pytest.approx(0, abs=1e-3)


def test_half_precision_trains_alike(recipe, data, tmp_path):
    text = recipe.read_text().replace("warmup_kimg = 0.06", "warmup_kimg = 0")
    rows = {}
    for name, extra in (("plain", ""), ("half", 'precision = "bf16"')):
        recipe.write_text(text.replace("[training]", f"[training]\n{extra}"))
        job = job_of(recipe, data, tmp_path / name)
        rows[name] = [job.take_step() for _ in range(3)]
    for plain, half in zip(rows["plain"], rows["half"], strict=True):
        assert plain["d_loss"] != half["d_loss"]
        assert plain["d_loss"] == pytest.approx(half["d_loss"], rel=0.05)
    assert job.G.mapping.fc0.weight.dtype == torch.float32
