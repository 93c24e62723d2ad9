"""Avatars to measure with: those of the grid in docs/images, at the size they are served in."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import count, islice, product
from pathlib import Path

from PIL import Image, ImageOps

from tests.bench.processes import ROOT

SIZE = 512
COLUMNS, ROWS = 8, 4


def pngs(many: int) -> Iterator[bytes]:
    """So many different pictures: the grid's, mirrored, then each with other colours."""
    with Image.open(ROOT / "docs" / "images" / "grid.webp") as image:
        grid = image.convert("RGB")
    side = grid.width // COLUMNS
    return islice(_pngs(grid, side), many)


def _pngs(grid: Image.Image, side: int) -> Iterator[bytes]:
    for turn in count():
        for row, column, mirrored in product(range(ROWS), range(COLUMNS), (False, True)):
            left, top = column * side, row * side
            picture = grid.crop((left, top, left + side, top + side))
            if mirrored:
                picture = ImageOps.mirror(picture)
            hue, *rest = picture.convert("HSV").split()
            turned = hue.point([(value + 29 * turn) % 256 for value in range(256)])
            coloured = Image.merge("HSV", (turned, *rest)).convert("RGB")
            out = io.BytesIO()
            coloured.resize((SIZE, SIZE), Image.Resampling.LANCZOS).save(out, "PNG")
            yield out.getvalue()


def hang(folder: Path, many: int) -> list[Path]:
    """As files."""
    folder.mkdir(parents=True)
    paths = [folder / f"{number}.png" for number in range(many)]
    for path, data in zip(paths, pngs(many), strict=True):
        path.write_bytes(data)
    return paths
