"""Pictures to look at: what a stage kept, and what it dropped."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw

from models_core.data.picture import write_file

TILE = 96
COLUMNS = 12
SHOWN = 60
LINE = 14  # pixels of a caption


class Tile(NamedTuple):
    """One picture of a sheet, perhaps with a box (left, top, right, bottom in its pixels)."""

    file: Path
    box: tuple[float, float, float, float] | None = None


def spread(items: Sequence[Tile], shown: int = SHOWN) -> list[Tile]:
    """At most `shown` of them, evenly from beginning to end."""
    if len(items) <= shown:
        return list(items)
    return [items[i * len(items) // shown] for i in range(shown)]


def thumbnail(tile: Tile) -> Image.Image:
    """TILE×TILE, the whole picture on grey, its box in red."""
    with Image.open(tile.file) as image:
        small = image.convert("RGB")
    scale = TILE / max(small.size)
    size = (max(round(small.width * scale), 1), max(round(small.height * scale), 1))
    square = Image.new("RGB", (TILE, TILE), "#d0d0d0")
    left, top = (TILE - size[0]) // 2, (TILE - size[1]) // 2
    square.paste(small.resize(size, Image.Resampling.LANCZOS), (left, top))
    if tile.box:
        x0, y0, x1, y1 = (v * scale for v in tile.box)
        edges = (left + x0, top + y0, left + x1 - 1, top + y1 - 1)
        ImageDraw.Draw(square).rectangle(edges, outline="#e00000", width=2)
    return square


def sheet(rows: Iterable[tuple[str, Sequence[Tile]]]) -> Image.Image:
    """Groups of tiles one below the other, each under its caption."""
    groups = [(caption, list(tiles)) for caption, tiles in rows]
    widest = max((min(len(tiles), COLUMNS) for _, tiles in groups), default=1)
    heights = [LINE + -(-len(tiles) // COLUMNS) * TILE for _, tiles in groups]
    # Wide enough for captions also where few pictures are shown.
    out = Image.new("RGB", (max(widest, 4) * TILE, max(sum(heights), 1)), "white")
    draw, top = ImageDraw.Draw(out), 0
    for (caption, tiles), height in zip(groups, heights, strict=True):
        draw.text((2, top + 1), caption, fill="black")
        for i, tile in enumerate(tiles):
            place = ((i % COLUMNS) * TILE, top + LINE + (i // COLUMNS) * TILE)
            out.paste(thumbnail(tile), place)
        top += height
    return out


def save_sheet(file: Path, rows: Iterable[tuple[str, Sequence[Tile]]]) -> None:
    """Write the sheet as JPEG, or remove an old one where there is nothing to show."""
    shown = [(caption, tiles) for caption, tiles in rows if tiles]
    if not shown:
        file.unlink(missing_ok=True)
        return
    with io.BytesIO() as stream:
        sheet(shown).save(stream, format="JPEG", quality=88)
        write_file(file, stream.getvalue())
