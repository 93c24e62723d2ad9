import numpy as np
import pytest
from dicebear import Style

from models_core.critic.faults import as_pixels, detailed_place
from models_core.critic.harm import NAMES, fault_map, harm, visible
from models_core.critic.parts import PART_FAULTS, part_map, part_mask
from models_core.data.dicebear import Drawing, render, style_definition


@pytest.fixture(scope="module")
def pictures():
    style = Style(style_definition("toon-head"))
    return [as_pixels(render(style, Drawing(f"faults-{n}", {}, {}), 64)) for n in range(6)]


@pytest.mark.parametrize("name", NAMES)
def test_a_fault_grows_with_its_strength(name, pictures):
    """Over several pictures, what is changed grows from next to nothing."""

    def change(strength):
        return np.mean(
            [
                np.abs(harm(image, pictures[n - 1], strength, _dice(n), name) - image).mean()
                for n, image in enumerate(pictures)
            ]
        )

    nothing, little, much = change(0), change(0.3), change(1)
    allowed = 0.02 if name == "blocks" else 0.001  # the best JPEG is still one
    assert nothing < allowed, "strength 0 leaves the picture as it is"
    assert nothing < little < much
    assert much > (0.0003 if name in PART_FAULTS else 0.002), "strength 1 can be seen"


@pytest.mark.parametrize("name", NAMES)
def test_a_fault_is_decided_by_its_generator(name, pictures):
    image, other = pictures[:2]
    before = image.copy()
    first, again, different = (harm(image, other, 0.7, _dice(seed), name) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert np.array_equal(image, before), "the picture given is not touched"
    assert first.shape == image.shape and first.dtype == np.float32
    assert first.min() >= 0 and first.max() <= 1
    decided = {"blur", "blocks", "ghost"}  # nothing in these is left to chance
    assert np.array_equal(first, different) == (name in decided)


def test_places_are_where_the_detail_is(pictures):
    picture = np.ones((64, 64, 3), np.float32)
    picture[36:46, 20:30] = np.indices((10, 10)).sum(axis=0)[..., None] % 2
    places = [detailed_place(picture, _dice(n)) for n in range(50)]
    near = [28 <= y <= 54 and 12 <= x <= 38 for y, x in places]
    assert np.mean(near) > 0.9


def aligned(count=60, size=32):
    """Pictures that are alike but for their tag's part: "left" is drawn left, "right" right."""
    dice = _dice(0)
    tags = [("left", "right")[n % 2] for n in range(count)]
    images = dice.integers(0, 60, (count, 1, 1, 3), np.uint8).repeat(size, 1).repeat(size, 2)
    for image, tag in zip(images, tags, strict=True):
        image[12:16, 4 : 8 if tag == "left" else 4] = 255
        image[12:16, 24 : 28 if tag == "right" else 24] = 255
    return images, tags


def test_parts_are_where_the_tags_differ():
    found = part_map(*aligned())
    assert found.sum() == pytest.approx(1)
    assert found[12:16, 4:8].sum() == pytest.approx(0.5, abs=0.01)
    assert found[12:16, 24:28].sum() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("name", PART_FAULTS)
def test_a_part_fault_stays_near_its_part(name, pictures):
    where = np.zeros((64, 64))
    where[30:34, 20:24] = 1 / 16
    changed = np.mean(
        [
            np.abs(harm(image, pictures[n - 1], 1.0, _dice(n), name, [where]) - image).max(axis=2)
            for n, image in enumerate(pictures)
        ],
        axis=0,
    )
    assert changed.max() > 0.02
    near = np.hypot(*(np.indices((64, 64)) - np.array([32, 22])[:, None, None])) < 22
    assert changed[near].sum() > 0.95 * changed.sum()


def test_without_known_parts_a_part_is_where_the_detail_is(pictures):
    mask = part_mask(pictures[0], [], _dice(1))
    assert mask.shape == (64, 64, 1) and 0 < mask.mean() < 0.1


def test_what_changed_nothing_is_no_fault(pictures):
    picture = pictures[0]
    assert visible(picture, picture) == 0
    spotted = picture.copy()
    spotted[20, 41] = 1 - spotted[20, 41].round()
    assert visible(picture, spotted) == 1
    places = fault_map(picture, spotted, 8)
    assert places.shape == (8, 8) and places[2, 5] > 0
    places[2, 5] = 0
    assert not places.any(), "and no other place is blamed"


def _dice(seed):
    return np.random.default_rng(seed)
