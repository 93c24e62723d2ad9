"""Masks, and pasting inside them alone."""

import pytest
import torch

from models_core.latent.masks import (
    closed,
    feathered,
    find_groups,
    paste,
    region_mask,
    tag_directions,
    without_specks,
)
from models_core.latent.space import LatentSpace


@pytest.fixture
def square():
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 8:24, 8:24] = 1
    return mask


def test_not_one_pixel_outside_the_mask_changes(square):
    inside, outside = torch.ones(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
    result = paste(inside, outside, square.expand(2, -1, -1, -1))
    assert torch.equal(
        result[(square == 0).expand_as(result)], outside[(square == 0).expand_as(outside)]
    )
    assert torch.equal(result[..., 15:17, 15:17], inside[..., 15:17, 15:17])


def test_the_seam_fades_within(square):
    soft = feathered(square, 3)
    assert torch.equal(soft[square == 0], torch.zeros_like(soft[square == 0]))
    line = soft[0, 0, 16, 8:16]
    assert line[0] < 0.3 and line[-1] == 1 and (line.diff() >= -1e-6).all()
    assert torch.equal(feathered(square, 0), square)
    whole = torch.ones(1, 1, 32, 32)
    assert torch.allclose(feathered(whole, 3), whole)  # the picture's border is no seam


def test_small_gaps_close_and_specks_go(square):
    square[..., 15, 15] = 0
    square[..., 2, 2] = 1
    clean = closed(without_specks(square))
    assert clean[0, 0, 15, 15] == 1 and clean[0, 0, 2, 2] == 0
    assert clean[0, 0, 7, 16] == 1 and clean[0, 0, 5, 16] == 0  # one pixel wider


def test_groups_are_found_by_name_and_by_word(space):
    assert find_groups(space, "hair colour") == ["hair colour"]
    assert find_groups(space, "hair") == ["hair colour", "hair length"]
    with pytest.raises(ValueError, match="no tag group 'nose'; there are hair colour"):
        find_groups(space, "nose")


def test_without_tags_there_are_no_regions_by_name(plain_gan):
    with pytest.raises(ValueError, match="give a mask"):
        find_groups(LatentSpace.open(plain_gan), "hair")


def test_a_tag_s_direction_is_what_the_tag_does_to_w(space):
    directions = tag_directions(space, "hair colour")
    assert directions.shape == (2, 12)
    assert torch.allclose(directions.sum(dim=0), torch.zeros(12), atol=1e-4)
    pink = space.from_seeds(range(200), ["pink hair"])[:, 0].mean(dim=0)
    black = space.from_seeds(range(200), ["black hair"])[:, 0].mean(dim=0)
    asked = torch.cosine_similarity(directions[0] - directions[1], pink - black, dim=0)
    assert asked > 0.8


def test_the_region_is_where_the_drawing_answers_to_the_tags(space):
    """A generator whose hair colour reaches the left half alone: that is the region."""

    class LeftHalf(LatentSpace):
        def synthesize(self, ws):
            picture = torch.zeros(len(ws), 3, self.resolution, self.resolution)
            picture[..., : self.resolution // 2] = ws[:, 0, 0].view(-1, 1, 1, 1) * 0.1
            return picture

    half = LeftHalf(space.generator, space.about)
    mask = region_mask(half, space.from_seeds([1, 2]), ["hair colour"])
    assert mask.shape == (2, 1, 32, 32)
    assert mask[..., :16].min() == 1
    assert mask[..., 18:].max() == 0
