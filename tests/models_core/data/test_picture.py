"""Pictures of unknown origin: shown right, or left out with a reason."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from models_core.data.picture import Skip, open_picture, png_bytes, write_file

RED, BLUE = (220, 30, 40), (20, 40, 200)


def two_halves(mode: str = "RGB", size: tuple[int, int] = (40, 60)) -> Image.Image:
    """Red above, blue below."""
    image = Image.new("RGB", size, RED)
    image.paste(BLUE, (0, size[1] // 2, *size))
    return image.quantize(8) if mode == "P" else image.convert(mode)


def near(image: Image.Image, place: tuple[int, int], colour: tuple[int, int, int], by: int) -> bool:
    return all(abs(a - b) <= by for a, b in zip(image.getpixel(place), colour, strict=True))


@pytest.mark.parametrize(
    ("name", "mode", "options", "by"),
    [
        ("a.png", "RGB", {}, 0),
        ("a.png", "P", {}, 0),
        ("a.gif", "P", {}, 0),
        ("a.jpg", "RGB", {"quality": 95}, 6),
        ("a.jpg", "CMYK", {"quality": 95}, 8),
        ("a.tif", "CMYK", {}, 3),
        ("a.webp", "RGB", {"lossless": True}, 0),
        ("a.bmp", "RGB", {}, 0),
        ("a.avif", "RGB", {"quality": 95}, 12),
    ],
)
def test_every_kind_is_shown_as_it_looks(tmp_path, name, mode, options, by):
    two_halves(mode).save(tmp_path / name, **options)
    image = open_picture(tmp_path / name)
    assert (image.mode, image.size, image.info) == ("RGB", (40, 60), {})
    assert near(image, (5, 5), RED, by)
    assert near(image, (35, 55), BLUE, by)


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_exif_rotation_is_applied_once(tmp_path, orientation):
    turn = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}
    stored = two_halves().transpose(turn.get(orientation, Image.Transpose.ROTATE_270))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.png", exif=exif)
    image = open_picture(tmp_path / "a.png")
    assert image.size == (40, 60)
    assert near(image, (5, 5), RED, 0)
    (tmp_path / "b.png").write_bytes(png_bytes(image))
    assert open_picture(tmp_path / "b.png").tobytes() == image.tobytes()


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    values = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "grey.png")
    grey = np.asarray(open_picture(tmp_path / "grey.png"))
    assert np.array_equal(grey[..., 0], (values >> 8).astype(np.uint8))
    (tmp_path / "colour.png").write_bytes(colour_png_of_16_bits())
    assert near(open_picture(tmp_path / "colour.png"), (0, 0), (255, 128, 0), 1)


def colour_png_of_16_bits() -> bytes:
    """2×2 orange. Pillow reads such files but cannot write them."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    rows = (b"\0" + struct.pack(">3H", 65535, 0x8080, 0) * 2) * 2
    header = struct.pack(">2I5B", 2, 2, 16, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("kind", ["RGBA", "LA", "palette"])
def test_what_is_transparent_is_white(tmp_path, kind):
    if kind == "palette":
        clear = Image.new("P", (40, 40), 0)
        clear.putpalette([0, 0, 0, 220, 30, 40])
        clear.paste(1, (0, 0, 20, 40))
        clear.save(tmp_path / "a.png", transparency=0)
    else:
        clear = Image.new(kind, (40, 40))
        half = Image.new("RGBA", (20, 40), (*RED, 255)).convert(kind)
        clear.paste(half, (0, 0))
        clear.save(tmp_path / "a.png")
    image = open_picture(tmp_path / "a.png")
    assert image.getpixel((30, 20)) == (255, 255, 255)
    assert image.getpixel((10, 20)) != (255, 255, 255)


def test_a_colour_profile_is_applied_and_a_broken_one_ignored(tmp_path):
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    two_halves().save(tmp_path / "wrong.png", icc_profile=lab)
    assert near(open_picture(tmp_path / "wrong.png"), (5, 5), RED, 0)
    two_halves().save(tmp_path / "broken.png", icc_profile=b"no profile")
    assert near(open_picture(tmp_path / "broken.png"), (5, 5), RED, 0)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    two_halves().save(tmp_path / "right.png", icc_profile=srgb)
    assert near(open_picture(tmp_path / "right.png"), (5, 5), RED, 1)


def animation(suffix: str) -> bytes:
    frames = [two_halves(), two_halves().transpose(Image.Transpose.ROTATE_180)]
    with io.BytesIO() as stream:
        frames[0].save(stream, format=suffix, save_all=True, append_images=frames[1:])
        return stream.getvalue()


def cut_short(suffix: str) -> bytes:
    noise = Image.effect_noise((80, 80), 90).convert("RGB")
    with io.BytesIO() as stream:
        noise.save(stream, format=suffix)
        return stream.getvalue()[: len(stream.getvalue()) // 2]


def flipped() -> bytes:
    content = bytearray(png_bytes(Image.effect_noise((80, 80), 90)))
    content[len(content) // 2] ^= 0xFF
    return bytes(content)


def picture(image: Image.Image, suffix: str = "PNG") -> bytes:
    with io.BytesIO() as stream:
        image.save(stream, format=suffix)
        return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a picture"),
        (b"<html>Not found</html>", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
        (cut_short("PNG"), "truncated"),
        (cut_short("JPEG"), "truncated"),
        (flipped(), "damaged"),
        (animation("GIF"), "animated"),
        (animation("PNG"), "animated"),
        (animation("WEBP"), "animated"),
        (picture(Image.new("RGB", (1, 1))), "smaller than 16 pixels"),
        (picture(Image.new("RGB", (900, 15))), "smaller than 16 pixels"),
        (picture(Image.new("F", (40, 40)), "TIFF"), "floating-point pixels"),
        (picture(Image.new("1", (9000, 9000))), "too many pixels"),
    ],
)
def test_what_cannot_be_used_has_a_reason(tmp_path, content, reason):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(Skip) as skip:
        open_picture(tmp_path / "a.png", min_side=16)
    assert str(skip.value) == reason


def test_a_missing_file_has_a_reason(tmp_path):
    with pytest.raises(Skip, match="no such file"):
        open_picture(tmp_path / "a.png")


def test_files_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    file = tmp_path / "a"
    write_file(file, b"first")
    stamp = file.stat().st_mtime_ns
    write_file(file, b"first")
    assert file.stat().st_mtime_ns == stamp  # nothing to do, nothing done

    def torn(part: Path, content: bytes) -> int:
        with part.open("wb") as stream:
            stream.write(content[:2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", torn)
    with pytest.raises(OSError, match="No space left"):
        write_file(file, b"second")
    assert file.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [file]
