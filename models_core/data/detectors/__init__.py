"""Finding faces: `open_detector` and what every detector gives."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Protocol

from PIL import Image

from models_core.data.detectors.boxes import Face
from models_core.data.settings import RecipeError


class Detector(Protocol):
    """Faces in an RGB picture, the surest first, in the picture's pixels."""

    def __call__(self, image: Image.Image) -> list[Face]: ...


@cache
def open_detector(name: str, confidence: float, face_class: int | None = None) -> Detector:
    """`blazeface`, or a YOLO export by its path. Loaded once in each process."""
    if name == "blazeface":
        from models_core.data.detectors.blazeface import BlazeFaceDetector

        return BlazeFaceDetector(confidence)
    if not Path(name).is_file():
        raise RecipeError(f"crop.detector: neither `blazeface` nor a file: {name}")
    from models_core.data.detectors.yolo import YoloDetector

    return YoloDetector(Path(name), confidence, face_class)


__all__ = ["Detector", "Face", "open_detector"]
