"""A release small enough for tests of what surrounds it: real pictures, drawn by the seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageDraw


@dataclass(frozen=True)
class Drawn:
    seed: int
    image: Image.Image
    tags: tuple[str, ...]


class SmallRelease:
    """Heads in the seed's colours. Seeds ending in 7 are poor, in 9 unsafe; 5 copies 4."""

    def __init__(self, digest: str = "0" * 64, params: Mapping[str, Any] | None = None) -> None:
        self.digest, self.device = digest, "cpu"
        self.manifest = {"params": dict(params or {})}
        self.asked: list[tuple[list[int], list[str], dict[str, Any]]] = []
        self.upscaled = 0
        self.parts, self.loras = ["adapter"], ()

    def generate(
        self,
        seeds: Sequence[int],
        *,
        tags: Sequence[str] = (),
        params: Mapping[str, Any] | None = None,
        progress: Callable[[int, int], None] | None = None,
        abort: Callable[[], bool] | None = None,
    ) -> list[Drawn]:
        self.asked.append((list(seeds), list(tags), dict(params or {})))
        for step in range(3):
            if progress:
                progress(step + 1, 3)
        return [Drawn(seed, _head(seed - (seed % 10 == 5)), tuple(tags)) for seed in seeds]

    def score(self, images: Sequence[Image.Image]) -> list[float]:
        return [0.2 if _seed(image) % 10 == 7 else 0.9 for image in images]

    def safety(self, images: Sequence[Image.Image]) -> list[float]:
        return [0.9 if _seed(image) % 10 == 9 else 0.01 for image in images]

    def upscale(self, images: Sequence[Image.Image]) -> list[Image.Image]:
        self.upscaled += len(images)
        return [image.resize((512, 512)) for image in images]


def _head(seed: int) -> Image.Image:
    colours = [
        tuple(random.Random(f"{seed} {part}").randbytes(3)) for part in ("sky", "hair", "skin")
    ]
    image = Image.new("RGB", (128, 128), colours[0])
    draw = ImageDraw.Draw(image)
    draw.ellipse((24, 10, 104, 100), fill=colours[1])
    draw.ellipse((34, 30, 94, 110), fill=colours[2])
    image.putpixel((0, 0), (seed >> 16 & 255, seed >> 8 & 255, seed & 255))
    return image


def _seed(image: Image.Image) -> int:
    red, green, blue = image.getpixel((0, 0))
    return red << 16 | green << 8 | blue
