import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models_core.__main__ import main
from models_core.critic.critic import Critic
from models_core.critic.examples import (
    Examples,
    Shares,
    made_faults,
    read_snapshots,
    real_images,
)
from models_core.critic.faults import FAULTS
from models_core.critic.harm import Frame
from models_core.critic.parts import PART_FAULTS
from models_core.critic.train import train
from models_core.training.run import Run


def test_a_trained_critic_prefers_real_art(recipe, tmp_path, capsys):
    """The whole command at tiny size: draw, train, calibrate, report, score files."""
    run = tmp_path / "run"
    assert main(["train", "critic", str(recipe), "--run", str(run)]) == 0
    report = json.loads((run / "report.json").read_text())
    assert report["real_benign"] >= 0.7
    assert report["auc_half_or_worse"] > 0.6
    assert report["spearman"] > 0.1
    assert 0 <= report["auc_parts"] <= 1
    assert list(report["spearman_by_fault"]) == [
        "blur",
        "noise",
        "washed_out",
        "wobble",
        "part_muddled",
    ]
    logged = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in logged if "loss" in line]
    assert losses[-1] < losses[0]

    own = recipe.parent / "own/test/whole"
    capsys.readouterr()
    assert main(["evaluate", "critic", str(run / "critic"), str(own)]) == 0
    assert "are benign" in capsys.readouterr().out
    critic = Critic.open(run / "critic")
    real = critic([Image.open(f) for f in sorted(own.glob("*.png"))])
    dice = np.random.default_rng(0)
    static = [Image.fromarray(dice.integers(0, 256, (32, 32, 3), np.uint8)) for _ in range(8)]
    assert np.mean(real) > np.mean(critic(static)) + 0.1


def test_a_stopped_run_goes_on_to_the_same_weights(recipe, tmp_path):
    whole = train(Run(tmp_path / "whole", recipe), steps=6)
    train(Run(tmp_path / "parts", recipe), steps=2)
    parts = train(Run(tmp_path / "parts", recipe), steps=4)
    assert parts.step == whole.step == 6
    for name in ("model", "places", "average"):
        a, b = getattr(whole, name).state_dict(), getattr(parts, name).state_dict()
        assert all(torch.equal(a[key], b[key]) for key in a)


def test_training_ends_at_the_recipes_steps(recipe, tmp_path):
    file = tmp_path / "short.toml"
    file.write_text(recipe.read_text().replace("steps = 120", "steps = 3"))
    assert train(Run(tmp_path / "run", file)).step == 3
    assert train(Run(tmp_path / "run", file), steps=5).step == 3


def test_an_unknown_fault_is_refused(recipe, tmp_path):
    file = tmp_path / "wrong.toml"
    file.write_text(recipe.read_text().replace('"wobble"', '"wobbel"'))
    with pytest.raises(ValueError, match="no fault 'wobbel'; there are blur"):
        train(Run(tmp_path / "run", file), steps=1)


def test_the_critic_draws_images_no_other_model_sees(recipe):
    settings = tomllib.loads(recipe.read_text())
    whole, crop = real_images(settings, "train")
    assert whole.pixels.shape == crop.pixels.shape and whole.pixels.shape[1:] == (32, 32, 3)
    assert [len(frame.parts) for frame in (whole, crop)] == [2, 2]
    rows = (recipe.parent / "own/train/metadata.jsonl").read_text().splitlines()
    assert len(rows) == len(whole.pixels) and all('"id": "own-' in row for row in rows)


def test_sheets_of_snapshots_are_cut_and_used(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("sheets").mkdir()
    sheet = Image.new("RGB", (48, 32))
    for n in range(6):
        sheet.paste((n * 40, 0, 0), (n % 3 * 16, n // 3 * 16, n % 3 * 16 + 16, n // 3 * 16 + 16))
    sheet.save("sheets/00001.png")
    settings = {
        "network": {"size": 32},
        "snapshots": [
            {"files": "sheets/*.png", "tile": 16, "strength": 0.9},
            {"files": "not-there/*.png", "strength": 1.0},
        ],
    }
    first, second = read_snapshots(settings)
    assert first.pixels.shape == (6, 32, 32, 3) and len(second.pixels) == 0
    assert [int(tile[..., 0].mean()) for tile in first.pixels] == [0, 40, 80, 120, 160, 200]

    dice = np.random.default_rng(1)
    real = [Frame(dice.integers(0, 256, (4, 32, 32, 3), np.uint8))]
    examples = Examples(real, [first, second], Shares(snapshots=1.0), cells=4)
    images, wanted, places = examples.batch(12, np.random.default_rng(0))
    assert images.shape == (12, 3, 32, 32) and images.abs().max() <= 1
    assert wanted[0::3].tolist() == pytest.approx([0.1] * 4), "a snapshot before each pair"
    assert wanted[1::3].tolist() == [1] * 4, "the pair's real picture"
    assert all(0 <= score <= 1 for score in wanted[2::3].tolist())
    assert wanted[2::3].mean() < 0.8, "the same with a fault"
    assert places.shape == (12, 4, 4)
    assert places[0::3].isnan().all(), "nobody knows where a snapshot's faults are"
    assert (places[1::3] == 1).all(), "nothing is wrong anywhere in a real one"
    worst = places[2::3].amin(dim=(1, 2))
    assert torch.allclose(worst, wanted[2::3], atol=0.2), "a fault is somewhere"


def test_faults_of_parts_are_made_where_the_parts_are_known():
    assert made_faults({}) == list(FAULTS)
    assert made_faults({"parts": ["eyes"]}) == [*FAULTS, *PART_FAULTS]
    assert made_faults({"faults": ["specks"]}) == ["specks"]


def test_unknown_tag_groups_are_refused(recipe):
    settings = tomllib.loads(recipe.read_text())
    with pytest.raises(ValueError, match=r"no tag group 'nose'.*eyes"):
        real_images({**settings, "parts": ["nose"]}, "train")
