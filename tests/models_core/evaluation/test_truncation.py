"""`evaluate truncation` as a user runs it: the prototype's figures at each ψ."""

import json

import numpy as np
from PIL import Image

from models_core.__main__ import main
from models_core.evaluation.truncation import enlarged


def test_each_truncation_is_measured_against_real_crops_of_the_same_size(folder, short, capsys):
    words = ["evaluate", "truncation", str(folder / "recipe.toml"), "--psi", "0.0", "1.0"]
    words += ["--run", str(folder / "run"), "--out", str(folder / "psi"), "--threads", "1"]
    assert main(words) == 0
    assert "prototype.md" in capsys.readouterr().out
    found = json.loads((folder / "psi/prototype.json").read_text())
    floor, mean, whole = found["rows"]
    assert [row["pictures"] for row in found["rows"]] == [
        "real crops (the floor)",
        "ψ = 0.0",
        "ψ = 1.0",
    ]
    assert all(row["n"] == found["n"] == 8 for row in found["rows"])
    assert floor["frechet"] < whole["frechet"] != mean["frechet"]
    page = (folder / "psi/prototype.md").read_text()
    assert "--psi 0.0 1.0" in page and f"| ψ = 1.0 | {whole['benign_rate']:.1%}" in page
    with Image.open(folder / "psi/images/prototype.webp") as sheet:
        assert sheet.size == (8 * 32, 32)


def test_real_crops_pass_the_prototypes_filter():
    pixels = np.full((3, 16, 16, 3), 200, dtype=np.uint8)
    assert enlarged(pixels, 32).shape == (3, 32, 32, 3)
    assert (enlarged(pixels, 32) == 200).all()
