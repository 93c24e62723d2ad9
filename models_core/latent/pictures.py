"""Reading the pictures and masks that people give, and refusing what is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from models_core.data.picture import FORMATS, Skip, open_picture


class PictureError(ValueError):
    """The file is not a picture that can be used; says what to do."""


def read_picture(file: Path, size: int) -> np.ndarray:
    """A square face crop → uint8 [size, size, 3], on white where it is transparent."""
    image = _open(file)
    if image.width != image.height:
        raise PictureError(
            f"{file} is {image.width}×{image.height}: it must be a square crop of the face, "
            "framed as the generator's pictures are"
        )
    if image.width < size:
        raise PictureError(
            f"{file} is {image.width} pixels wide, smaller than the generator's {size}; "
            "enlarge it first or give a larger one"
        )
    return np.asarray(_fitted(image, size))


def read_mask(file: Path, size: int, beside: tuple[int, int]) -> Tensor:
    """A mask, white where to mix → float [1, size, size] in 0 to 1.

    Painted on transparency, what is painted is the mask.

    Args:
        beside: width and height of the picture that it lies on, which must be its own.
    """
    image = _open(file)
    if image.size != beside:
        raise PictureError(
            f"the mask {file} is {image.width}×{image.height}, but the picture it lies on is "
            f"{beside[0]}×{beside[1]}; draw the mask in the picture's own size"
        )
    with Image.open(file, formats=FORMATS) as raw:
        if raw.has_transparency_data:
            image = ImageOps.exif_transpose(raw).convert("RGBA").getchannel("A")
    mask = torch.from_numpy(np.array(_fitted(image.convert("L"), size))).float() / 255
    if mask.max() < 0.5:
        raise PictureError(f"the mask {file} is black: paint white where to mix")
    return mask.unsqueeze(0)


def picture_size(file: Path) -> tuple[int, int]:
    """Width and height as people see them."""
    return _open(file).size


def _open(file: Path) -> Image.Image:
    """One still picture, upright and RGB."""
    try:
        return open_picture(file)
    except Skip as reason:
        raise PictureError(f"{file} cannot be used: {reason}") from None


def _fitted(image: Image.Image, size: int) -> Image.Image:
    if image.size == (size, size):
        return image
    return image.resize((size, size), Image.Resampling.LANCZOS)
