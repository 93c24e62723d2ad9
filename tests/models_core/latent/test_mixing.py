"""Which layers a mix takes from whom."""

import numpy as np
import pytest
import torch

from models_core.latent.mixing import MAX_CELLS, level_of_layers, mix, mixing_grid, parse_layers
from models_core.latent.space import LatentSpace
from models_core.stylegan2.checkpoint import Description
from tests.models_core.latent.conftest import SIZE, new_generator


@pytest.fixture(scope="module")
def space() -> LatentSpace:
    """Of 64 pixels: the smallest that has all three levels."""
    return LatentSpace(new_generator(c_dim=0, img_resolution=64), Description({}))


def test_levels_are_the_paper_s(space):
    # 4, 8 | 16, 32 | 64: one layer at 4 and two at every other, then the last toRGB.
    assert level_of_layers(space.generator) == ["coarse"] * 3 + ["middle"] * 4 + ["fine"] * 3


def test_layers_are_levels_and_numbers(space):
    G = space.generator
    assert parse_layers("coarse", G) == [0, 1, 2]
    assert parse_layers("fine, coarse", G) == [0, 1, 2, 7, 8, 9]
    assert parse_layers("2-4,9,3", G) == [2, 3, 4, 9]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rough", "layers are coarse, middle, fine or numbers"),
        ("3-12", "no layer 12: the last is 9"),
        ("5-3", "has no layers '5-3'"),
        ("", "layers are coarse"),
    ],
)
def test_other_layers_are_told(space, text, says):
    with pytest.raises(ValueError, match=says):
        parse_layers(text, space.generator)


def test_a_small_generator_has_no_fine_layers():
    G = new_generator(img_resolution=16)
    with pytest.raises(ValueError, match="levels are coarse, middle"):
        parse_layers("fine", G)


def test_a_mix_takes_just_those_layers(space):
    a, b = space.from_seeds([1]), space.from_seeds([2, 3])
    mixed = mix(a, b, [0, 5])
    assert mixed.shape == b.shape
    assert torch.equal(mixed[:, [0, 5]], b[:, [0, 5]])
    rest = [1, 2, 3, 4, 6, 7, 8, 9]
    assert torch.equal(mixed[:, rest], a.expand_as(b)[:, rest])
    assert torch.equal(a, space.from_seeds([1]))


def test_the_grid_has_its_sources_at_the_edges(space):
    rows, columns = space.from_seeds([1, 2]), space.from_seeds([3, 4, 5])
    cells = mixing_grid(space, rows, columns, range(space.num_ws)).reshape(3, 4, 64, 64, 3)
    assert (cells[0, 0] == 255).all()
    # With every layer from the column, each row repeats the columns' own pictures.
    for row in (1, 2):
        assert np.abs(cells[row, 1:].astype(int) - cells[0, 1:]).max() <= 1
    assert np.abs(cells[1:, 0].astype(int) - space.draw(rows)).max() <= 1
    none = mixing_grid(space, rows, columns, []).reshape(3, 4, 64, 64, 3)
    assert np.abs(none[1, 1:].astype(int) - none[1, :1]).max() <= 1


def test_a_huge_grid_is_refused_before_it_is_drawn(space):
    many = space.from_seeds([1]).expand(MAX_CELLS + 1, -1, -1)
    with pytest.raises(ValueError, match="are too many"):
        mixing_grid(space, many, many[:1], [0])


def test_an_unconditional_generator_mixes_too(plain_gan):
    space = LatentSpace.open(plain_gan)
    ws = space.from_seeds([0, 1])
    assert mixing_grid(space, ws, ws, [0]).shape == (9, SIZE, SIZE, 3)
