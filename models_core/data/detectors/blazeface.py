"""BlazeFace, short range: MediaPipe's face detector, which finds most cartoon faces too.

The network: Bazarevsky et al., "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs"
(2019). The weights beside this file are MediaPipe's own (Apache-2.0), read as they are; why they
lie here and what else was tried is in docs/decisions/0007-face-detector.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from models_core.data.detectors.boxes import Face, Letterbox, faces, letterbox
from models_core.data.detectors.tflite import read_tensors

WEIGHTS = Path(__file__).with_name("face_detection_short_range.tflite")
SHA256 = "3bc182eb9f33925d9e58b5c8d59308a760f4adea8f282370e428c51212c26633"
SIZE = 128
# Channels and stride of each block; the second half works on 8×8.
FIRST = [(24, 1), (28, 1), (32, 2), (36, 1), (42, 1), (48, 2), (56, 1), (64, 1), (72, 1), (80, 1)]
FIRST += [(88, 1)]
SECOND = [(96, 2), (96, 1), (96, 1), (96, 1), (96, 1)]
OVERLAP = 0.3
TILED_FROM = 2 * SIZE  # pixels; in larger pictures faces may be too small for the whole view
TILE_SHARE = 0.6


class Block(nn.Module):
    """Depthwise 3×3 and pointwise convolution, added to the input (pooled, channels padded)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.stride, self.more = stride, after - before
        # TensorFlow's "SAME" padding puts the odd pixel at the end.
        self.depthwise = nn.Conv2d(before, before, 3, stride, padding=2 - stride, groups=before)
        self.pointwise = nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = F.max_pool2d(x, 2) if self.stride == 2 else x
        h = F.pad(x, (0, 1, 0, 1)) if self.stride == 2 else x
        shortcut = F.pad(shortcut, (0, 0, 0, 0, 0, self.more))
        return F.relu(self.pointwise(self.depthwise(h)) + shortcut)


def _blocks(before: int, spec: list[tuple[int, int]]) -> nn.Sequential:
    layers = []
    for after, stride in spec:
        layers.append(Block(before, after, stride))
        before = after
    return nn.Sequential(*layers)


class BlazeFace(nn.Module):
    """RGB [n, 3, 128, 128] in [-1, 1] → logits [n, 896] and boxes [n, 896, 4].

    Boxes are centre x, y, width, height in pixels, the centre relative to its anchor's. The 896
    anchors: two in each cell of 16×16, then six in each of 8×8.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 24, 5, 2)
        self.first, self.second = _blocks(24, FIRST), _blocks(88, SECOND)
        self.score_16, self.score_8 = nn.Conv2d(88, 2, 1), nn.Conv2d(96, 6, 1)
        # Sixteen values an anchor: the box, then six landmarks that are not used here.
        self.box_16, self.box_8 = nn.Conv2d(88, 32, 1), nn.Conv2d(96, 96, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        n = len(x)
        fine = self.first(F.relu(self.stem(F.pad(x, (1, 2, 1, 2)))))
        coarse = self.second(fine)

        def flat(maps: Tensor, values: int) -> Tensor:
            return maps.permute(0, 2, 3, 1).reshape(n, -1, values)

        scores = [flat(self.score_16(fine), 1), flat(self.score_8(coarse), 1)]
        boxes = [flat(self.box_16(fine), 16), flat(self.box_8(coarse), 16)]
        return torch.cat(scores, 1)[..., 0], torch.cat(boxes, 1)[..., :4]

    @classmethod
    def open(cls, file: Path = WEIGHTS) -> BlazeFace:
        """With MediaPipe's weights. ValueError if the file is another."""
        content = file.read_bytes()
        if hashlib.sha256(content).hexdigest() != SHA256:
            raise ValueError(f"{file} is not MediaPipe's short-range face detector")
        tensors, network = read_tensors(content), cls()
        layers: dict[str, nn.Module] = {"conv2d": network.stem}
        for number, block in enumerate([*network.first, *network.second]):
            tail = f"_{number}" if number else ""
            layers[f"depthwise_conv2d{tail}"] = block.depthwise
            layers[f"conv2d_{number + 1}"] = block.pointwise
        # The names there count strides, not cells.
        layers |= {"classificator_8": network.score_16, "classificator_16": network.score_8}
        layers |= {"regressor_8": network.box_16, "regressor_16": network.box_8}
        for name, layer in layers.items():
            kernel = torch.from_numpy(tensors[f"{name}/Kernel"].astype(np.float32))
            # [out, h, w, in], depthwise [1, h, w, channels]
            order = (3, 0, 1, 2) if name.startswith("depthwise") else (0, 3, 1, 2)
            bias = torch.from_numpy(tensors[f"{name}/Bias"].astype(np.float32))
            layer.load_state_dict({"weight": kernel.permute(order), "bias": bias})
        return network.eval().requires_grad_(False)


def anchors() -> np.ndarray:
    """Centres [896, 2] in pixels, in the order of the network's outputs."""
    centres = []
    for cells, each in ((16, 2), (8, 6)):
        y, x = np.mgrid[:cells, :cells]
        grid = (np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) * (SIZE / cells)
        centres.append(np.repeat(grid, each, axis=0))
    return np.concatenate(centres)


class BlazeFaceDetector:
    """Faces of a tenth of the picture's width and more."""

    def __init__(self, confidence: float = 0.4) -> None:
        self.confidence = confidence
        self.network, self.anchors = BlazeFace.open(), anchors()

    def __call__(self, image: Image.Image) -> list[Face]:
        """Faces in an RGB picture, the surest first.

        Parts of the picture are looked at only if the whole shows none: they give false ones.
        """
        whole = [letterbox(image, SIZE, SIZE), letterbox(image, SIZE, SIZE, shrink=2 / 3)]
        found = self._detect(image, whole)
        if not found and max(image.size) >= TILED_FROM:
            found = self._detect(image, list(_parts(image)))
        return found

    @torch.inference_mode()
    def _detect(self, image: Image.Image, views: list[Letterbox]) -> list[Face]:
        pixels = np.stack([np.asarray(view.canvas, dtype=np.float32) for view in views])
        x = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
        logits, raw = self.network(x)
        scores = torch.sigmoid(logits).numpy()
        boxes, sure = [], scores >= self.confidence
        for view, found, values in zip(views, sure, raw.numpy(), strict=True):
            centre, half = values[found, :2] + self.anchors[found], values[found, 2:4] / 2
            boxes.append(view.back(np.hstack([centre - half, centre + half])))
        return faces(np.concatenate(boxes), scores[sure], image, OVERLAP)


def _parts(image: Image.Image) -> Iterator[Letterbox]:
    """The picture corner by corner, overlapping."""
    side = round(TILE_SHARE * max(image.size))
    width, height = min(side, image.width), min(side, image.height)
    for left in sorted({0, image.width - width}):
        for top in sorted({0, image.height - height}):
            part = letterbox(image.crop((left, top, left + width, top + height)), SIZE, SIZE)
            # The way back leads into the whole picture.
            x, y = part.left - left * part.scale, part.top - top * part.scale
            yield part._replace(left=x, top=y)
