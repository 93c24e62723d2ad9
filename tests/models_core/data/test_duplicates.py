"""Near-duplicates."""

import numpy as np
import pytest
from PIL import Image

from models_core.data.duplicates import look_of, near_duplicates


def scene(seed: int) -> Image.Image:
    blocks = np.random.default_rng(seed).integers(40, 215, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((128, 128), Image.Resampling.BICUBIC)


def test_a_smaller_or_compressed_copy_is_near_and_another_scene_is_not(tmp_path):
    first, other = scene(1), scene(2)
    first.save(tmp_path / "a.jpg", quality=40)
    copies = [first.resize((60, 60), Image.Resampling.LANCZOS), Image.open(tmp_path / "a.jpg")]
    looks = [look_of(image.convert("RGB")) for image in (first, *copies, other)]
    assert near_duplicates(looks, 12) == {1: 0, 2: 0}
    assert near_duplicates(looks, 0) == {}


def test_the_larger_of_two_stays():
    looks = [look_of(scene(1)), look_of(scene(1))]
    assert near_duplicates(looks, 12, [10, 20]) == {0: 1}
    assert near_duplicates(looks, 12, [20, 20]) == {1: 0}


def test_one_different_cell_is_enough_and_the_distance_is_exact():
    base = Image.new("RGB", (16, 16), (100, 100, 100))
    for step, near in ((11, {1: 0}), (12, {})):
        other = base.copy()
        other.putpixel((3, 4), (100, 100 + step, 100))
        assert near_duplicates([look_of(base), look_of(other)], 12) == near


def test_a_chain_does_not_drop_what_differs_from_what_is_kept():
    chain = [look_of(Image.new("RGB", (16, 16), (v, v, v))) for v in (100, 110, 120)]
    assert near_duplicates(chain, 12) == {1: 0}


@pytest.mark.parametrize("n", [0, 1])
def test_few_pictures_have_no_duplicates(n):
    assert near_duplicates([look_of(scene(1))] * n, 12) == {}
