"""Any face detector exported by YOLOv5 or YOLOv8 (Ultralytics) to ONNX, without NMS inside.

YOLOv5 gives [1, n, 5 + classes] (centre x, y, width, height, objectness, class scores), YOLOv8
and its successors [1, 4 + classes, n] (no objectness), both in the input's pixels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

from models_core.data.detectors.boxes import Face, faces, letterbox

SIZE = 640  # of exports that take any
FINAL = (300, 6)  # rows of corners, score and class: never a number of candidates


class DetectorError(ValueError):
    """The file is no detector that can be used here."""


class YoloDetector:
    """A detector of one class, or of `face_class` among several."""

    def __init__(self, path: Path, confidence: float, face_class: int | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(
                path, sess_options=options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's exceptions have no common base of their own
            raise DetectorError(f"{path} is not an ONNX model: {error}") from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shape = inputs[0].shape
        if len(inputs) != 1 or len(shape) != 4 or shape[1] != 3 or len(outputs[0].shape) != 3:
            raise DetectorError(
                f"{path} is not a YOLOv5 or YOLOv8 export: it takes {shape} and gives "
                f"{outputs[0].shape}, not [1, 3, h, w] and three dimensions"
            )
        self.path, self.confidence, self.face_class = path, confidence, face_class
        self._input, self._half = inputs[0].name, "float16" in inputs[0].type
        self.height, self.width = (n if isinstance(n, int) else SIZE for n in shape[2:])

    def __call__(self, image: Image.Image) -> list[Face]:
        """Faces in an RGB picture, the surest first."""
        boxed = letterbox(image, self.width, self.height)
        pixels = np.asarray(boxed.canvas, dtype=np.float32).transpose(2, 0, 1)[None] / 255
        x = pixels.astype(np.float16) if self._half else pixels
        output = self._session.run(None, {self._input: x})[0]
        boxes, scores = self._decode(np.asarray(output[0], dtype=np.float32))
        sure = scores >= self.confidence
        return faces(boxed.back(boxes[sure]), scores[sure], image)

    def _decode(self, output: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Either layout → boxes [n, 4] as corners in the canvas's pixels, scores [n].

        There are always more candidates than values each, which tells the layouts apart.
        """
        if output.shape == FINAL:
            raise DetectorError(f"{self.path} suppresses overlaps itself; export it with nms=False")
        if output.shape[0] < output.shape[1]:  # YOLOv8: [4 + classes, n]
            rows = output.T
            scores = self._of_class(rows[:, 4:])
        else:  # YOLOv5: [n, 5 + classes]
            rows = output
            scores = rows[:, 4] * (self._of_class(rows[:, 5:]) if rows.shape[1] > 5 else 1)
        half = rows[:, 2:4] / 2
        return np.hstack([rows[:, :2] - half, rows[:, :2] + half]), scores

    def _of_class(self, scores: np.ndarray) -> np.ndarray:
        classes = scores.shape[1]
        if self.face_class is None:
            if classes > 1:
                raise DetectorError(
                    f"{self.path} tells {classes} classes apart; set crop.face_class to the "
                    "number of the one that is a face"
                )
            return scores[:, 0]
        if not 0 <= self.face_class < classes:
            raise DetectorError(
                f"{self.path} has no class {self.face_class}; its classes are 0 to {classes - 1}"
            )
        return scores[:, self.face_class]
