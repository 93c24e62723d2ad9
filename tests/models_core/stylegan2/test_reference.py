"""Our networks against recorded outputs of the original StyleGAN2-ADA networks."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from models_core.__main__ import main
from models_core.stylegan2.reference import OUTPUTS, PairError, compare_folder, compare_pair

REFERENCE = Path(__file__).parent / "reference"
PAIRS = ("uncond_skip_32", "cond3_skip_16")


@pytest.mark.parametrize("pair", PAIRS)
def test_every_output_agrees(pair):
    differences = compare_pair(REFERENCE / f"{pair}.json")
    assert [d.output for d in differences] == list(OUTPUTS)
    assert {d.output: d.largest for d in differences if d.largest > 1e-4} == {}
    assert all(d.scale > 0.1 for d in differences), "recorded outputs of zeros show nothing"


def test_the_command_prints_each_tensor_and_succeeds(capsys):
    assert main(["verify-reference", str(REFERENCE)]) == 0
    out = capsys.readouterr().out
    for pair in PAIRS:
        for name in OUTPUTS:
            assert any(line.split()[:2] == [pair, name] for line in out.splitlines())


def test_beyond_the_tolerance_the_command_fails(capsys):
    assert main(["verify-reference", str(REFERENCE), "--tolerance", "1e-9"]) == 1
    assert "BEYOND THE TOLERANCE" in capsys.readouterr().out


def test_a_folder_without_pairs_is_told(tmp_path, capsys):
    (tmp_path / "alone.json").write_text("{}")
    assert main(["verify-reference", str(tmp_path)]) == 2
    assert "holds no reference pairs" in capsys.readouterr().err


def test_a_changed_weight_is_seen(tmp_path):
    arrays = dict(np.load(REFERENCE / "cond3_skip_16.npz"))
    arrays["G/synthesis.b8.conv0.weight"] = arrays["G/synthesis.b8.conv0.weight"][..., ::-1]
    rewrite(tmp_path, arrays)
    worst = {d.output: d.largest for d in compare_folder(tmp_path)}
    assert worst["image_const_noise"] > 1e-2
    assert worst["ws"] < 1e-4
    assert worst["logits"] < 1e-4


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda arrays: arrays.pop("logits"), "lacks logits"),
        (lambda arrays: arrays.pop("G/mapping.fc1.bias"), "weights do not fit"),
        (lambda arrays: arrays.update(ws=arrays["ws"][:, :2]), r"ws is \[3, 6, 40\], recorded"),
    ],
    ids=["no output", "no weight", "another shape"],
)
def test_a_damaged_pair_is_told(tmp_path, change, says):
    arrays = dict(np.load(REFERENCE / "cond3_skip_16.npz"))
    change(arrays)
    rewrite(tmp_path, arrays)
    with pytest.raises(PairError, match=says):
        compare_folder(tmp_path)


def rewrite(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    shutil.copy(REFERENCE / "cond3_skip_16.json", folder)
    np.savez(folder / "cond3_skip_16.npz", **arrays)
