"""Made faults: what goes wrong in generated pictures, with a strength that can be chosen.

Each fault takes a picture (float32 [h, w, 3] in 0…1), a strength from 0 (nothing) to 1 (gross),
and a NumPy generator; a few take another real picture of the same frame too. Strengths are scaled
so that about 0.3 is where a person starts to mind.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from PIL import Image
from scipy import ndimage

Pixels = np.ndarray
Fault = Callable[[Pixels, float, Generator, Pixels], Pixels]
FAULTS: dict[str, Fault] = {}


def fault(make: Fault) -> Fault:
    FAULTS[make.__name__] = make
    return make


# --- where: soft masks and places worth harming ---------------------------------------------


def detailed_place(image: Pixels, dice: Generator) -> tuple[int, int]:
    """A pixel drawn by how much detail lies around it: an eye sooner than the background.

    Every other time the middle counts most, since a contour of hair is long and a face is small.
    """
    small = image[::4, ::4].mean(axis=2)
    down, right = np.gradient(small)
    weight = ndimage.uniform_filter(np.hypot(down, right), 5) ** 2 + 1e-9
    if dice.random() < 0.5:
        rows, columns = np.indices(small.shape) / len(small) - 0.5
        weight *= np.exp(-(rows**2 + columns**2) / (2 * 0.15**2))
    index = dice.choice(weight.size, p=(weight / weight.sum()).ravel())
    y, x = divmod(int(index), small.shape[1])
    return y * 4 + 2, x * 4 + 2


def blob(image: Pixels, y: float, x: float, radius: float, dice: Generator) -> Pixels:
    """A soft-edged ellipse mask [h, w, 1] around a place."""
    rows, columns = np.ogrid[: image.shape[0], : image.shape[1]]
    stretch = dice.uniform(0.7, 1.4)
    distance = np.hypot((rows - y) * stretch, (columns - x) / stretch) / radius
    return np.clip(3 * (1.3 - distance), 0, 1).astype(np.float32)[..., None]


def radius(image: Pixels, dice: Generator) -> float:
    """The radius of a facial part: an eye, a mouth, a lock of hair."""
    return dice.uniform(0.05, 0.13) * image.shape[0]


def surroundings(image: Pixels, mask: Pixels) -> Pixels:
    """What the masked place would look like had it been painted over from around it."""
    spread = image.shape[0] / 16
    outside = 1 - mask
    colour = ndimage.gaussian_filter(image * outside, (spread, spread, 0))
    share = ndimage.gaussian_filter(outside, (spread, spread, 0))
    return colour / np.maximum(share, 1e-3)


def displaced(image: Pixels, rms: float, wavelength: float, dice: Generator) -> Pixels:
    """Every pixel moved by a smooth random field of that many pixels."""
    field = dice.standard_normal((2, *image.shape[:2]))
    field = ndimage.gaussian_filter(field, (0, wavelength / 3, wavelength / 3))
    field *= rms / max(float(field.std()), 1e-6)
    rows, columns = np.indices(image.shape[:2], dtype=np.float32)
    at = [rows + field[0], columns + field[1]]
    channels = [
        ndimage.map_coordinates(image[..., c], at, order=1, mode="nearest") for c in range(3)
    ]
    return np.stack(channels, axis=2)


def resized(image: Pixels, height: int, width: int) -> Pixels:
    channels = [
        Image.fromarray(image[..., c]).resize((width, height), Image.Resampling.BICUBIC)
        for c in range(3)
    ]
    return np.stack([np.asarray(channel) for channel in channels], axis=2)


# --- the whole picture ----------------------------------------------------------------------


@fault
def blur(image: Pixels, strength: float, dice: Generator, other: Pixels) -> Pixels:
    sigma = 4 * strength * image.shape[0] / 128
    return ndimage.gaussian_filter(image, (sigma, sigma, 0))


@fault
def smooth(image: Pixels, strength: float, dice: Generator, other: Pixels) -> Pixels:
    """Fine detail lost, as by a weak autoencoder: through a smaller size, contours eaten."""
    height, width = image.shape[:2]
    factor = 1 + 5 * strength
    small = resized(image, max(round(height / factor), 4), max(round(width / factor), 4))
    if strength > 0.3 and dice.random() < 0.5:
        small = ndimage.median_filter(small, (3, 3, 1))
    return resized(small, height, width)


@fault
def noise(image: Pixels, strength: float, dice: Generator, other: Pixels) -> Pixels:
    grain = dice.standard_normal(image.shape)
    if dice.random() < 0.5:  # coarse grain, as of a denoiser that stopped early
        grain = ndimage.gaussian_filter(grain, (1, 1, 0)) * 3.5
    return image + 0.15 * strength * grain


@fault
def blocks(image: Pixels, strength: float, dice: Generator, other: Pixels) -> Pixels:
    with io.BytesIO() as jpeg:
        quality = round(70 * (1 - strength) ** 2 + 2)
        as_image(image).save(jpeg, format="JPEG", quality=quality)
        return as_pixels(Image.open(jpeg))


@fault
def checkerboard(image: Pixels, strength: float, dice: Generator, other: Pixels) -> Pixels:
    """The grid that upsampling layers leave."""
    period = int(dice.choice([2, 4, 8]))
    rows, columns = np.indices(image.shape[:2])
    grid = np.sign(np.sin(np.pi * (rows + 0.5) / period) * np.sin(np.pi * (columns + 0.5) / period))
    return image + 0.2 * strength * grid[..., None] * dice.uniform(0.3, 1, 3)


@fault
def washed_out(image: Pixels, strength: float, dice: Generator, other: Pixels) -> Pixels:
    mean = image.mean(axis=(0, 1)) + dice.normal(0, 0.1, 3)
    return mean + (image - mean) * (1 - 0.85 * strength)


@fault
def bleeding(image: Pixels, strength: float, dice: Generator, other: Pixels) -> Pixels:
    """Colours that leave their contours: chroma shifted and blurred, brightness kept."""
    light = image.mean(axis=2, keepdims=True)
    reach = strength * image.shape[0] / 128
    way = dice.normal(0, 8 * reach, 2)
    chroma = ndimage.shift(image - light, (*way, 0), order=1, mode="nearest")
    return light + ndimage.gaussian_filter(chroma, (5 * reach, 5 * reach, 0))


@fault
def warp(image: Pixels, strength: float, dice: Generator, other: Pixels) -> Pixels:
    scale = image.shape[0] / 128
    return displaced(image, 9 * strength * scale, dice.uniform(20, 45) * scale, dice)


@fault
def wobble(image: Pixels, strength: float, dice: Generator, other: Pixels) -> Pixels:
    """Ragged contours."""
    scale = image.shape[0] / 128
    return displaced(image, 4 * strength * scale, dice.uniform(4, 9) * scale, dice)


@fault
def ghost(image: Pixels, strength: float, dice: Generator, other: Pixels) -> Pixels:
    """Two pictures at once, as where a model averages over what it cannot decide."""
    return image + 0.5 * strength * (other - image)


# --- a part of it ---------------------------------------------------------------------------


@fault
def smear(image: Pixels, strength: float, dice: Generator, other: Pixels) -> Pixels:
    length = max(int(36 * strength * image.shape[0] / 128), 1)
    dragged = ndimage.uniform_filter1d(image, length, axis=int(dice.integers(2)))
    mask = blob(image, *detailed_place(image, dice), 2 * radius(image, dice), dice)
    return image + mask * (dragged - image)


@fault
def missing(image: Pixels, strength: float, dice: Generator, other: Pixels) -> Pixels:
    mask = blob(image, *detailed_place(image, dice), radius(image, dice), dice)
    return image + strength * mask * (surroundings(image, mask) - image)


@fault
def double(image: Pixels, strength: float, dice: Generator, other: Pixels) -> Pixels:
    """A part drawn a second time beside itself: double eyes."""
    y, x = detailed_place(image, dice)
    angle, way = dice.uniform(0, 2 * np.pi), dice.uniform(0.07, 0.2) * image.shape[0]
    dy, dx = way * np.sin(angle), way * np.cos(angle)
    copy = ndimage.shift(image, (dy, dx, 0), order=1, mode="nearest")
    mask = blob(image, y + dy, x + dx, radius(image, dice), dice)
    return image + strength * mask * (copy - image)


@fault
def misplaced(image: Pixels, strength: float, dice: Generator, other: Pixels) -> Pixels:
    y, x = detailed_place(image, dice)
    size, angle = radius(image, dice), dice.uniform(0, 2 * np.pi)
    way = 0.22 * strength * image.shape[0]
    dy, dx = way * np.sin(angle), way * np.cos(angle)
    hole = blob(image, y, x, size, dice)
    without = image + min(4 * strength, 1) * hole * (surroundings(image, hole) - image)
    moved = ndimage.shift(hole, (dy, dx, 0), order=1)
    copy = ndimage.shift(image, (dy, dx, 0), order=1, mode="nearest")
    return without + moved * (copy - without)


@fault
def mismatched(image: Pixels, strength: float, dice: Generator, other: Pixels) -> Pixels:
    """One side or one part of another person."""
    if dice.random() < 0.4:
        angle = dice.uniform(0, 2 * np.pi)
        rows, columns = np.indices(image.shape[:2]) / image.shape[0] - 0.5
        side = rows * np.sin(angle) + columns * np.cos(angle) + dice.normal(0, 0.05)
        mask = np.clip(20 * side + 0.5, 0, 1)[..., None]
    else:
        mask = blob(image, *detailed_place(image, dice), 2 * radius(image, dice), dice)
    return image + strength * mask * (other - image)


@fault
def wrong_colour(image: Pixels, strength: float, dice: Generator, other: Pixels) -> Pixels:
    """A region tinted without regard to contours."""
    mask = blob(image, *detailed_place(image, dice), 3 * radius(image, dice), dice)
    tint = dice.standard_normal(3)
    return image + 0.6 * strength * mask * tint / np.linalg.norm(tint)


@fault
def spots(image: Pixels, strength: float, dice: Generator, other: Pixels) -> Pixels:
    out = image
    for _ in range(int(dice.integers(1, 6))):
        y, x = dice.uniform(0, image.shape[0], 2)
        mask = blob(image, y, x, dice.uniform(0.015, 0.06) * image.shape[0], dice)
        out = out + strength * mask * (dice.uniform(0, 1, 3) - out)
    return out


# --- pixels and pictures --------------------------------------------------------------------


def as_image(pixels: Pixels) -> Image.Image:
    return Image.fromarray((np.clip(pixels, 0, 1) * 255).round().astype(np.uint8))


def as_pixels(image: Image.Image) -> Pixels:
    return np.asarray(image.convert("RGB"), dtype=np.float32) / 255
