"""Boxes of faces: what detectors share before and after their networks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

GREY = (114, 114, 114)  # what YOLO is trained to see around a picture


class Face(NamedTuple):
    """A box in pixels and how sure its detector is, 0 to 1."""

    left: float
    top: float
    right: float
    bottom: float
    score: float

    @property
    def side(self) -> float:
        """The longer side."""
        return max(self.right - self.left, self.bottom - self.top)

    @property
    def centre(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2


class Letterbox(NamedTuple):
    """A picture scaled into a canvas, and the way back: x = (X - left) / scale."""

    canvas: Image.Image
    scale: float
    left: float
    top: float

    def back(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes [n, 4] in the canvas's pixels → in the picture's."""
        return (boxes - [self.left, self.top, self.left, self.top]) / self.scale


def letterbox(
    image: Image.Image,
    width: int,
    height: int,
    fill: tuple[int, int, int] = GREY,
    shrink: float = 1.0,
) -> Letterbox:
    """Scale into width×height with its proportions kept, centred; `shrink` leaves more border."""
    scale = min(width / image.width, height / image.height) * shrink
    size = max(round(image.width * scale), 1), max(round(image.height * scale), 1)
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    canvas = Image.new("RGB", (width, height), fill)
    canvas.paste(image.resize(size, Image.Resampling.BILINEAR), (left, top))
    return Letterbox(canvas, scale, left, top)


def non_maximum_suppression(
    boxes: np.ndarray, scores: np.ndarray, overlap: float = 0.45
) -> list[int]:
    """Indices of the boxes [n, 4] to keep, the surest first: none overlaps a surer one by more
    than `overlap` (intersection over union)."""
    order = np.argsort(-scores, kind="stable")
    areas = np.clip(boxes[:, 2] - boxes[:, 0], 0, None) * np.clip(
        boxes[:, 3] - boxes[:, 1], 0, None
    )
    kept: list[int] = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(int(best))
        low = np.maximum(boxes[best, :2], boxes[rest, :2])
        high = np.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = np.prod(np.clip(high - low, 0, None), axis=1)
        union = areas[best] + areas[rest] - shared
        order = rest[shared <= overlap * np.maximum(union, 1e-9)]
    return kept


def faces(
    boxes: np.ndarray, scores: np.ndarray, image: Image.Image, overlap: float = 0.45
) -> list[Face]:
    """The detections left after suppression, cut to the picture."""
    size = [image.width, image.height] * 2
    kept = non_maximum_suppression(boxes, scores, overlap)
    cut = np.clip(boxes, 0, size)
    return [Face._make([*map(float, cut[i]), float(scores[i])]) for i in kept]
