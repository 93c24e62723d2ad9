"""Sheets of prototypes."""

import numpy as np
import pytest
from PIL import Image

from models_core.__main__ import main
from models_core.latent.space import LatentSpace
from models_core.stylegan2 import checkpoint
from models_core.stylegan2.sample import parse_seeds
from tests.models_core.stylegan2.conftest import CONFIG, RULES, TAGS


@pytest.fixture
def folder(G, tmp_path):
    checkpoint.save(CONFIG, G.state_dict(), tmp_path / "gan", tags=TAGS, rules=RULES)
    return tmp_path / "gan"


def test_a_seed_gives_its_picture_in_any_company(folder):
    space = LatentSpace.open(folder)
    many = space.draw(space.from_seeds(range(10), truncation=0.7), batch=4)
    assert many.shape == (10, 16, 16, 3)
    alone = space.draw(space.from_seeds([7], truncation=0.7))
    assert space.traits([7]) == space.traits(range(10))[7:8]
    assert np.abs(alone[0].astype(int) - many[7]).max() <= 1
    assert not np.array_equal(many[0], many[1])


def test_tags_are_drawn_by_frequency_and_rules_hold(folder):
    tags = LatentSpace.open(folder).traits(range(200))
    assert 50 < sum("pink hair" in row for row in tags) < 150
    bearded = [row for row in tags if "full beard" in row]
    assert 5 < len(bearded) < 60
    assert all("black hair" in row for row in bearded)


def test_asked_tags_are_on_every_picture(folder):
    space = LatentSpace.open(folder)
    assert all("pink hair" in row for row in space.traits(range(6), ["pink hair"]))
    pink, black = (
        space.draw(space.from_seeds(range(6), [tag])) for tag in ("pink hair", "black hair")
    )
    assert not np.array_equal(pink, black)


def test_truncation_zero_draws_the_mean(folder):
    space = LatentSpace.open(folder)
    pictures = space.draw(space.from_seeds(range(4), truncation=0.0))
    assert np.abs(pictures.astype(int) - pictures[0]).max() <= 1


def test_the_command_writes_a_sheet(folder, tmp_path, capsys):
    out = tmp_path / "sheets" / "s.png"
    arguments = ["sample", "stylegan2", str(folder), "--seeds", "0-4,9", "--columns", "4"]
    assert main([*arguments, "--tags", "pink hair", "--out", str(out)]) == 0
    assert Image.open(out).size == (64, 32)
    assert "6 prototypes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--tags", "green hair"], "unknown tag 'green hair'"),
        (["--tags", "pink hair, black hair"], "are both of 'hair colour'"),
        (["--tags", "pink hair, full beard"], "does not go with"),
        (["--seeds", "one"], "seeds are numbers and ranges"),
        (["--seeds", "7-3"], "the range 7-3 is empty"),
        (["--seeds", "0-99999"], "holds over 4096 seeds"),
        (["--cutoff", "99"], "--cutoff is from 0 to 6 layers, not 99"),
        (["--columns", "0"], "--columns must be at least 1"),
    ],
)
def test_bad_arguments_are_told_and_write_nothing(folder, tmp_path, capsys, arguments, says):
    out = tmp_path / "s.png"
    assert main(["sample", "stylegan2", str(folder), "--out", str(out), *arguments]) == 2
    assert says in capsys.readouterr().err
    assert not out.exists()


def test_seeds_are_numbers_and_ranges():
    assert parse_seeds("0-3, 8") == [0, 1, 2, 3, 8]
