"""Opening pictures of unknown origin, and writing files that are whole or absent."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps

Image.init()
# What a picture may be. Others are left out for safety (EPS would start an interpreter).
FORMATS: list[str] = [
    f for f in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF") if f in Image.OPEN
]
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")
MAX_PIXELS = 64_000_000
SRGB = ImageCms.createProfile("sRGB")


class Skip(Exception):
    """The picture cannot be used; the message is the reason, one phrase, to be counted."""


def open_picture(file: Path, min_side: int = 1) -> Image.Image:
    """Decode `file` fully to an upright RGB image as a viewer would show it.

    Turned as its EXIF data says, colours brought to sRGB, 16-bit values scaled, transparent
    parts on white. Skip where that is impossible or the shorter side is below `min_side`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks about odd metadata
            with Image.open(file, formats=FORMATS) as image:
                _check(image, min_side)
                image.load()
                plain = _to_rgb(ImageOps.exif_transpose(image))
                plain.info = {}  # profiles and transparency have been applied
                return plain
    except Skip:
        raise
    except FileNotFoundError:
        raise Skip("no such file") from None
    except Image.UnidentifiedImageError:
        raise Skip("not a picture") from None
    except Image.DecompressionBombError:
        raise Skip("too many pixels") from None
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError) as error:
        # Pillow has no exception of its own for broken data; the words differ by format.
        if "truncated" in str(error).lower() or isinstance(error, EOFError):
            raise Skip("truncated") from None
        raise Skip("damaged") from None


def _check(image: Image.Image, min_side: int) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise Skip("too many pixels")
    if min(image.size) < min_side:
        raise Skip(f"smaller than {min_side} pixels")
    # A camera's MPO holds previews besides, not an animation.
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise Skip("animated")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise Skip("floating-point pixels")
    if image.mode.startswith("I"):
        return _from_16_bit(image)
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        white = Image.new("RGBA", clear.size, "white")
        flat = Image.alpha_composite(white, clear).convert("RGB")
    else:
        flat = image if image.mode in ("CMYK", "L") else image.convert("RGB")
    return _to_srgb(flat, image.info.get("icc_profile"))


def _from_16_bit(image: Image.Image) -> Image.Image:
    """Grey of 16 bits: the high byte. Pillow's own conversion would clip at 255."""
    values = np.asarray(image).astype(np.int64)
    if values.size and values.max() > 65535:
        raise Skip("more than 16 bits a channel")
    return Image.fromarray((np.clip(values, 0, 65535) >> 8).astype(np.uint8)).convert("RGB")


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            done = ImageCms.profileToProfile(image, source, SRGB, outputMode="RGB")
            return done if done is not None else image.convert("RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # an unusable profile, or one of another mode: the plain conversion is left
    return image.convert("RGB")


def png_bytes(image: Image.Image, compress_level: int = -1) -> bytes:
    """The picture alone as PNG, no metadata."""
    with io.BytesIO() as stream:
        image.save(stream, format="PNG", compress_level=compress_level)
        return stream.getvalue()


def write_file(file: Path, content: bytes) -> None:
    """Write whole or not at all, and nothing where the content is there already."""
    if file.exists() and file.read_bytes() == content:
        return
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
