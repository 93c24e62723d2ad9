"""Ways through the latent space, against their definitions."""

import math

import pytest
import torch

from models_core.latent.interpolation import (
    lerp,
    near_neighbours,
    slerp,
    steps_between,
    through,
    through_seeds,
)
from models_core.latent.space import LatentSpace


def test_linear_steps_are_even():
    a, b = torch.zeros(2, 3), torch.full((2, 3), 6.0)
    assert lerp(a, b, steps_between(7))[:, 0, 0].tolist() == pytest.approx(list(range(7)))


def test_spherical_steps_are_even_angles_at_even_lengths():
    a, b = torch.tensor([2.0, 0, 0]), torch.tensor([0, 4.0, 0])
    way = slerp(a, b, steps_between(5))
    assert way.norm(dim=1).tolist() == pytest.approx([2, 2.5, 3, 3.5, 4])
    angles = torch.atan2(way[:, 1], way[:, 0])
    assert angles.tolist() == pytest.approx([i * math.pi / 8 for i in range(5)], abs=1e-5)
    assert slerp(a, a, steps_between(3)).tolist() == [[2, 0, 0]] * 3


def test_a_way_through_keys_meets_them_once(space):
    keys = list(space.from_seeds([1, 2, 3]))
    way = through(keys, 4)
    assert len(way) == 4 + 4
    assert torch.allclose(way[0], keys[0]) and torch.allclose(way[4], keys[1])
    assert torch.allclose(way[-1], keys[2])
    looped = through(keys, 4, loop=True)
    assert len(looped) == 12
    steps = (looped.roll(-1, 0) - looped).flatten(1).norm(dim=1)
    assert steps.min() > 0  # nowhere the same frame twice, also not at the seam


def test_the_way_through_z_begins_and_ends_at_the_seeds(space):
    way = through_seeds(space, [4, 9], 5, truncation=0.7)
    ends = space.from_seeds([4, 9], truncation=0.7)
    assert way.shape == (5, space.num_ws, 12)
    assert torch.allclose(way[[0, -1]], ends, atol=1e-4)


def test_near_neighbours_are_near_and_seven_steps_apart(space):
    found = near_neighbours(space, 3)
    assert found.ws.shape == (7, space.num_ws, 12)
    assert torch.equal(found.ws[0], space.from_seeds([3])[0])
    assert torch.allclose(found.ws[-1], space.from_seeds([found.seed])[0], atol=1e-5)
    distance = (found.ws[-1, 0] - found.ws[0, 0]).norm().item()
    assert distance == pytest.approx(found.distance, abs=1e-4)
    assert distance < found.alpha
    assert found.seed == 3 + found.attempts
    steps = (found.ws[1:] - found.ws[:-1]).flatten(1).norm(dim=1)
    assert steps.max() - steps.min() < 1e-4


def test_w2_is_redrawn_until_it_is_near(space):
    alpha = near_neighbours(space, 3).alpha
    first = space.from_seeds([3])
    for seed in range(4, near_neighbours(space, 3, alpha).seed):
        assert (space.from_seeds([seed])[:, 0] - first[:, 0]).norm() >= alpha - 1e-4


def test_where_nothing_is_near_the_nearest_is_told(space, monkeypatch):
    monkeypatch.setattr("models_core.latent.interpolation.ATTEMPTS", 500)
    with pytest.raises(ValueError, match=r"none of 500 draws .* the nearest came to \d"):
        near_neighbours(space, 3, alpha=1e-9)
    with pytest.raises(ValueError, match="alpha is a distance above 0"):
        near_neighbours(space, 3, alpha=-1)


def test_a_way_needs_two_ends_and_frames(plain_gan):
    space = LatentSpace.open(plain_gan)
    with pytest.raises(ValueError, match="at least two pictures"):
        through(list(space.from_seeds([1])), 4)
    with pytest.raises(ValueError, match="2 to 2000 frames"):
        through(list(space.from_seeds([1, 2])), 1)
    with pytest.raises(ValueError, match="3 ways of 1000 frames are more"):
        through_seeds(space, [1, 2, 3], 1000, loop=True)
