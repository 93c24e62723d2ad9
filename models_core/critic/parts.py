"""What goes wrong in one small part of a picture: blurred eyes, muddled brows, specks.

Where the parts are, the data tell: in aligned pictures, the places where the mean picture of one
tag differs from that of the next tag of the same group (wide eyes, happy eyes, …). A data set
without tags has its faults wherever there is detail.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.random import Generator
from scipy import ndimage

from models_core.critic.faults import Pixels, blob, detailed_place, displaced, surroundings

# picture, strength, generator, another picture, mask [h, w, 1] of the part → picture
PartFault = Callable[[Pixels, float, Generator, Pixels, Pixels], Pixels]
PART_FAULTS: dict[str, PartFault] = {}
MAPPED = 2000  # pictures that are looked at to find the parts


def part_fault(make: PartFault) -> PartFault:
    PART_FAULTS[make.__name__] = make
    return make


# --- where ----------------------------------------------------------------------------------


def part_map(images: np.ndarray, tags: Sequence[str]) -> np.ndarray:
    """Where a group of tags is drawn: float [h, w] that sums to 1.

    images: uint8 [n, h, w, 3], aligned; tags: each picture's tag of the group.
    """
    names, kinds = np.unique(np.asarray(tags[:MAPPED]), return_inverse=True)
    pixels = images[: len(kinds)].astype(np.float32) / 255
    counts = np.bincount(kinds)
    means = np.stack([pixels[kinds == kind].mean(axis=0) for kind in range(len(names))])
    middle = np.average(means, axis=0, weights=counts)
    spread = np.average((means - middle) ** 2, axis=0, weights=counts).sum(axis=2)
    # What the few pictures of each tag have by chance is even over the picture; the part is not.
    found = np.clip(spread - 0.1 * spread.max(), 0, None) + 1e-12
    return found / found.sum()


def part_mask(image: Pixels, parts: Sequence[np.ndarray], dice: Generator) -> Pixels:
    """A soft mask [h, w, 1] over one side of one part, as large as an eye or a mouth."""
    if parts:
        where = parts[int(dice.integers(len(parts)))]
        y, x = divmod(int(dice.choice(where.size, p=where.ravel())), where.shape[1])
    else:
        y, x = detailed_place(image, dice)
    return blob(image, y, x, dice.uniform(0.05, 0.1) * image.shape[0], dice)


# --- what -----------------------------------------------------------------------------------


@part_fault
def part_blurred(
    image: Pixels, strength: float, dice: Generator, other: Pixels, mask: Pixels
) -> Pixels:
    sigma = 3 * strength * image.shape[0] / 128
    return image + mask * (ndimage.gaussian_filter(image, (sigma, sigma, 0)) - image)


@part_fault
def part_muddled(
    image: Pixels, strength: float, dice: Generator, other: Pixels, mask: Pixels
) -> Pixels:
    """Another picture's part shows through, as where a model cannot decide which to draw."""
    return image + 0.55 * strength**0.7 * mask * (other - image)


@part_fault
def part_doubled(
    image: Pixels, strength: float, dice: Generator, other: Pixels, mask: Pixels
) -> Pixels:
    """The part drawn again close beside itself: double contours."""
    angle, way = dice.uniform(0, 2 * np.pi), dice.uniform(0.025, 0.07) * image.shape[0]
    move = (way * np.sin(angle), way * np.cos(angle), 0)
    copy = ndimage.shift(image, move, order=1, mode="nearest")
    darker = np.minimum(image, copy) if dice.random() < 0.5 else copy
    return image + 0.9 * strength**0.7 * mask * (darker - image)


@part_fault
def part_warped(
    image: Pixels, strength: float, dice: Generator, other: Pixels, mask: Pixels
) -> Pixels:
    scale = image.shape[0] / 128
    bent = displaced(image, 4.5 * strength * scale, dice.uniform(8, 16) * scale, dice)
    return image + mask * (bent - image)


@part_fault
def part_eaten(
    image: Pixels, strength: float, dice: Generator, other: Pixels, mask: Pixels
) -> Pixels:
    """Thin lines lost, or grown together."""
    size = 1 + 6 * strength * image.shape[0] / 128
    reach = int(size)
    change = [ndimage.median_filter, ndimage.minimum_filter, ndimage.maximum_filter]
    eat = change[int(dice.integers(3))]
    less, more = (eat(image, (k, k, 1)) for k in (reach, reach + 1))
    return image + mask * (less + (size - reach) * (more - less) - image)


@part_fault
def part_faded(
    image: Pixels, strength: float, dice: Generator, other: Pixels, mask: Pixels
) -> Pixels:
    return image + strength * mask * (surroundings(image, mask) - image)


@part_fault
def specks(image: Pixels, strength: float, dice: Generator, other: Pixels, mask: Pixels) -> Pixels:
    """A few tiny spots of the picture's own colours around the part."""
    rows, columns = np.nonzero(mask[..., 0] > 0.5)
    out = image
    for _ in range(int(dice.integers(1, 5))):
        at = int(dice.integers(len(rows))) if len(rows) else 0
        y, x = (rows[at], columns[at]) if len(rows) else (0, 0)
        y, x = y + dice.normal(0, 0.08) * len(image), x + dice.normal(0, 0.08) * len(image)
        colour = image[tuple(dice.integers(len(image), size=2))]
        spot = blob(image, y, x, dice.uniform(0.008, 0.025) * len(image), dice)
        out = out + strength**0.7 * spot * (colour - out)
    return out
