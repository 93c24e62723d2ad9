"""Drawing from the command line, with a tiny pipeline and as users type it."""

import numpy as np
import pytest
from PIL import Image

from models_core.__main__ import main
from tests.models_core.stylediffuser.conftest import make_pipeline


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    make_pipeline().save_pretrained(folder)
    return folder


def run(folder, out, *arguments) -> int:
    options = ["--model", str(folder), "--steps", "2", "--device", "cpu", "--out", str(out)]
    return main(["sample", *arguments, *options])


def test_a_sheet_of_avatars_with_their_prototypes(folder, tmp_path, capsys):
    out = tmp_path / "sheet.png"
    asked = ["--seeds", "0-2", "--columns", "2", "--prototypes", "--tags", "pink hair"]
    assert run(folder, out, "stylediffuser", *asked) == 0
    assert Image.open(out).size == (64, 128)
    told = capsys.readouterr()
    assert "6 pictures → " in told.out and "6 of 6 steps" in told.err


def test_a_fusion_of_two_seeds_is_a_row_from_one_to_the_other(folder, tmp_path):
    out = tmp_path / "fusion.png"
    assert run(folder, out, "fusion", "1", "2", "--frames", "3") == 0
    assert Image.open(out).size == (96, 32)


def test_variations_stand_beside_their_original(folder, tmp_path):
    out = tmp_path / "variations.png"
    asked = ["--seeds", "5,6", "--scheduler", "dpm++", "--strength", "0.4"]
    assert run(folder, out, "variations", "1", *asked) == 0
    sheet = np.asarray(Image.open(out))
    assert sheet.shape == (32, 96, 3)
    assert (sheet[:, 32:64] != sheet[:, 64:]).any()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["variations", "{picture}"], "a picture needs an encoder"),
        (["variations", "nobody.png"], "neither a seed nor a readable picture"),
        (["stylediffuser", "--scheduler", "magic"], "scheduler must be one of"),
        (["fusion", "1", "2", "--frames", "1"], "--frames must be at least 2"),
        (["stylediffuser", "--strength", "0"], "strength must be above 0"),
    ],
)
def test_what_cannot_be_done_is_said_in_words(folder, tmp_path, capsys, asked, said):
    picture = tmp_path / "face.png"
    Image.new("RGB", (32, 32)).save(picture)
    words = [word.format(picture=picture) for word in asked]
    assert run(folder, tmp_path / "out.png", *words) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out.png").exists()
