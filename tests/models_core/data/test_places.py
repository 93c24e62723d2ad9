"""Where crops and whole images are cut, and how they come to the recipe's size."""

import numpy as np
import pytest
from PIL import Image

from models_core.data.crop import FindFace, crop_box, whole_box
from models_core.data.detectors import Face
from models_core.data.settings import Crop
from models_core.data.super_resolve import Resolve, cut

WANTED = Crop(margin=2.0, shift=-0.25)


@pytest.mark.parametrize(
    ("face", "size", "box"),
    [
        (Face(80, 80, 120, 120, 1), (300, 300), (60, 50, 140, 130)),
        (Face(0, 0, 40, 40, 1), (300, 300), (0, 0, 80, 80)),  # moved into the picture
        (Face(270, 280, 300, 300, 1), (300, 300), (240, 240, 300, 300)),
        (Face(20, 10, 120, 110, 1), (300, 120), (10, 0, 130, 120)),  # shrunk to fit
    ],
)
def test_the_crop_is_a_square_around_the_face_inside_the_picture(face, size, box):
    assert crop_box(face, size, WANTED) == box


@pytest.mark.parametrize(
    ("size", "how", "box"),
    [
        ((300, 300), "square", (0, 0, 300, 300)),
        ((500, 300), "square", (0, 0, 300, 300)),
        ((200, 700), "square", (0, 0, 200, 200)),
        ((500, 300), "pad", (0, -100, 500, 400)),
    ],
)
def test_the_whole_image_holds_the_crop(size, how, box):
    crop = crop_box(Face(80, 80, 120, 120, 1), size, WANTED)
    whole = whole_box(crop, size, how)
    assert whole == box
    assert whole[0] <= crop[0] and whole[1] <= crop[1]
    assert whole[2] >= crop[2] and whole[3] >= crop[3]


def test_without_a_detector_the_middle_is_cropped(tmp_path):
    Image.new("RGB", (90, 50)).save(tmp_path / "a.png")
    record = {"id": "a", "file": "a.png", "width": 90, "height": 50}
    found = FindFace(tmp_path, Crop(detector="none"))(record).record
    assert found["crop_box"] == found["whole_box"] == (20, 0, 70, 50)


class Detected:
    """Stands for a detector that sees these faces."""

    def __init__(self, *faces: Face) -> None:
        self.faces = list(faces)

    def __call__(self, image: Image.Image) -> list[Face]:
        return self.faces


@pytest.mark.parametrize(
    ("faces", "how", "reason", "side"),
    [
        ([], "largest", "no face", None),
        ([Face(0, 0, 9, 9, 0.9)], "largest", "face smaller than 16 pixels", None),
        ([Face(0, 0, 20, 20, 0.9), Face(50, 50, 90, 90, 0.8)], "largest", "", 40),
        ([Face(0, 0, 20, 20, 0.9), Face(50, 50, 90, 90, 0.8)], "single", "several faces", None),
        ([Face(0, 0, 20, 20, 0.9), Face(0, 0, 90, 90, 0.4)], "largest", "", 20),  # half sure
        ([Face(0, 0, 20, 20, 0.9), Face(0, 0, 90, 90, 0.4)], "single", "", 20),
    ],
)
def test_which_of_the_faces_is_taken(tmp_path, monkeypatch, faces, how, reason, side):
    detected = Detected(*faces)
    monkeypatch.setattr("models_core.data.crop.open_detector", lambda *_: detected)
    Image.new("RGB", (100, 100)).save(tmp_path / "a.png")
    record = {"id": "a", "file": "a.png", "width": 100, "height": 100}
    outcome = FindFace(tmp_path, Crop(faces=how))(record)
    assert outcome.reason == reason
    if side:
        box = outcome.record["crop_box"]
        assert box[2] - box[0] == round(side * 1.8)


def test_shrinking_antialiases():
    """A fine checkerboard becomes even grey, not a moiré of black and white."""
    board = np.indices((256, 256)).sum(0) % 2 * 255
    image = Image.fromarray(np.repeat(board[..., None], 3, -1).astype(np.uint8))
    small = np.asarray(cut(image, (0, 0, 256, 256), 32)).astype(int)
    assert np.abs(small - 127).max() <= 4


def test_beyond_the_picture_is_white():
    padded = cut(Image.new("RGB", (64, 32), "blue"), (0, -16, 64, 48), 64)
    assert padded.getpixel((32, 3)) == (255, 255, 255)
    assert padded.getpixel((32, 32)) == (0, 0, 255)
    assert padded.getpixel((32, 60)) == (255, 255, 255)


@pytest.mark.parametrize(("model", "enlarged"), [("realesrgan", ["crop"]), ("none", [])])
def test_only_what_is_too_small_is_enlarged(tmp_path, model, enlarged):
    Image.effect_noise((96, 80), 60).convert("RGB").save(tmp_path / "a.png")
    record = {"id": "a", "file": "a.png", "whole_box": [8, 0, 88, 80], "crop_box": [20, 8, 60, 48]}
    done = Resolve(tmp_path, tmp_path / "super-resolve", 64, model)(record)
    assert done.record["enlarged"] == enlarged
    assert done.record["crop"] == [0.15, 0.1, 0.5]  # of the whole image
    for kind in ("whole", "crop"):
        assert Image.open(tmp_path / done.record[f"{kind}_file"]).size == (64, 64)
    plain = cut(Image.open(tmp_path / "a.png"), (20, 8, 60, 48), 64)
    same = Image.open(tmp_path / done.record["crop_file"]).tobytes() == plain.tobytes()
    assert same is not bool(enlarged)
