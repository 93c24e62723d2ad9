import numpy as np
import pytest
from dicebear import Style

from models_core.critic.faults import FAULTS, as_pixels, detailed_place, harm
from models_core.data.dicebear import Drawing, render, style_definition


@pytest.fixture(scope="module")
def pictures():
    style = Style(style_definition("toon-head"))
    return [as_pixels(render(style, Drawing(f"faults-{n}", {}, {}), 64)) for n in range(6)]


@pytest.mark.parametrize("name", FAULTS)
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
    assert much > 0.002, "strength 1 can be seen"


@pytest.mark.parametrize("name", FAULTS)
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


def _dice(seed):
    return np.random.default_rng(seed)
