import numpy as np
import pytest
from PIL import Image, ImageDraw

from generator_worker.curation import CurationError, Curator, Thresholds


def face(hair="#d84a7f", mouth="smile"):
    image = Image.new("RGB", (128, 128), "#cfe8ff")
    draw = ImageDraw.Draw(image)
    draw.ellipse((24, 10, 104, 100), fill=hair)
    draw.ellipse((34, 30, 94, 110), fill="#f3c9a5")
    if mouth == "smile":
        draw.chord((50, 75, 78, 98), 0, 180, fill="#a8323e")
    else:
        draw.rectangle((54, 84, 74, 88), fill="#a8323e")
    return image


def noisy(image, sigma, seed=0):
    pixels = np.asarray(image, dtype=float)
    pixels += np.random.default_rng(seed).normal(0, sigma, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype("uint8"))


def kept(images, scores=None, safety=None, **thresholds):
    curator = Curator(Thresholds(**thresholds))
    count = len(images)
    return curator, curator.keep(images, scores or [1.0] * count, safety or [0.0] * count)


def test_drops_below_the_critics_threshold_which_itself_passes():
    faces = [face(hair) for hair in ("#111111", "#885511", "#eeee22")]
    curator, indices = kept(faces, scores=[0.7, 0.6999, 0.95])
    assert indices == [0, 2]
    assert curator.summary() == "1 below the critic's threshold"


def test_drops_unsafe_and_unjudgeable_images():
    faces = [face(hair) for hair in ("#111111", "#885511", "#eeee22")]
    nan = float("nan")
    assert kept(faces, scores=[nan, 1, 1], safety=[0, nan, 0.51])[1] == []


def test_drops_a_near_duplicate_across_calls():
    curator, indices = kept([face(), noisy(face(), 8)])
    assert indices == [0]
    assert curator.keep([noisy(face(), 8, seed=1)], [1.0], [0.0]) == []
    assert curator.dropped["near-duplicate"] == 2


@pytest.mark.parametrize("other", [face(hair="#b03a6a"), face(mouth="flat")])
def test_another_hair_colour_or_mouth_is_no_duplicate(other):
    assert kept([face(), other])[1] == [0, 1]


def test_a_dropped_image_shadows_nobody():
    assert kept([face(), face()], scores=[0.1, 0.9])[1] == [1]


def test_the_order_goes_before_the_release():
    found = Thresholds.read({"min_score": 0.4}, {"min_score": 0.6, "max_unsafe": 0.2})
    assert found == Thresholds(min_score=0.4, max_unsafe=0.2)


@pytest.mark.parametrize("value", ["0.5", None, True, -0.1, 1.1, float("nan")])
def test_refuses_a_threshold_that_is_none(value):
    with pytest.raises(CurationError, match="min_score"):
        Thresholds.read({"min_score": value})
