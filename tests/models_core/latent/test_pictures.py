"""Pictures and masks that people give: used right, or refused with a reason."""

import io

import numpy as np
import pytest
from PIL import Image

from models_core.latent.pictures import PictureError, read_mask, read_picture


def test_a_picture_of_the_right_size_is_taken_as_it_is(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(read_picture(tmp_path / "a.png", 16), pixels)


def test_a_larger_one_is_shrunk_and_a_clear_one_is_on_white(tmp_path):
    Image.new("RGBA", (64, 64), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (read_picture(tmp_path / "clear.png", 16) == 255).all()
    palette = Image.new("RGB", (64, 64), (10, 200, 30)).convert("P")
    palette.save(tmp_path / "palette.gif")
    assert np.abs(read_picture(tmp_path / "palette.gif", 16) - [10.0, 200, 30]).max() < 30


def test_what_is_deep_or_turned_is_read_right(tmp_path):
    deep = np.full((16, 16), 40000, dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert (read_picture(tmp_path / "deep.png", 16) == 40000 >> 8).all()
    turned = Image.new("RGB", (16, 16))
    turned.paste((255, 255, 255), (0, 0, 16, 8))  # white above
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    turned.save(tmp_path / "turned.png", exif=exif)
    read = read_picture(tmp_path / "turned.png", 16)
    assert read[0, 0, 0] == 0 and read[-1, 0, 0] == 255


def animation() -> bytes:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    with io.BytesIO() as stream:
        frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
        return stream.getvalue()


def png(width: int, height: int, mode: str = "RGB") -> bytes:
    with io.BytesIO() as stream:
        Image.new(mode, (width, height)).save(stream, "PNG")
        return stream.getvalue()


def noise() -> bytes:
    pixels = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    with io.BytesIO() as stream:
        Image.fromarray(pixels).save(stream, "PNG")
        return stream.getvalue()


NOISE = noise()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (png(16, 20), "is 16×20: it must be a square crop"),
        (png(8, 8), "is 8 pixels wide, smaller than the generator's 16"),
        (animation(), "animated"),
        (NOISE[: len(NOISE) // 2], "face.png"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "face.png"),
        (b"", "face.png"),
    ],
    ids=["oblong", "small", "animated", "truncated", "postscript", "empty"],
)
def test_what_cannot_be_used_is_told(tmp_path, content, says):
    (tmp_path / "face.png").write_bytes(content)
    with pytest.raises(PictureError, match=says):
        read_picture(tmp_path / "face.png", 16)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(PictureError, match="no such file"):
        read_picture(tmp_path / "none.png", 16)


def test_a_mask_is_white_where_to_mix(tmp_path):
    mask = Image.new("L", (32, 32))
    mask.paste(255, (0, 0, 16, 32))
    mask.save(tmp_path / "mask.png")
    read = read_mask(tmp_path / "mask.png", 32, beside=(32, 32))
    assert read.shape == (1, 32, 32)
    assert read[0, :, :16].min() == 1 and read[0, :, 16:].max() == 0
    half = read_mask(tmp_path / "mask.png", 16, beside=(32, 32))
    assert half[0, 0, :7].min() > 0.95 and half[0, 0, 9:].max() < 0.05


def test_a_mask_painted_on_transparency_is_what_is_painted(tmp_path):
    mask = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    mask.paste((0, 0, 0, 255), (0, 0, 8, 16))
    mask.save(tmp_path / "mask.png")
    read = read_mask(tmp_path / "mask.png", 16, beside=(16, 16))
    assert read[0, :, :8].min() == 1 and read[0, :, 8:].max() == 0


def test_a_mask_of_another_size_or_empty_is_told(tmp_path):
    (tmp_path / "mask.png").write_bytes(png(20, 20, "L"))
    with pytest.raises(PictureError, match="is 20×20, but the picture it lies on is 16×16"):
        read_mask(tmp_path / "mask.png", 16, beside=(16, 16))
    with pytest.raises(PictureError, match="is black: paint white"):
        read_mask(tmp_path / "mask.png", 16, beside=(20, 20))
