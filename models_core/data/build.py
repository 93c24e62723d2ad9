"""Build a data set from a recipe: images, paired crops, tags, and splits that never move.

Layout (the Hugging Face *imagefolder* convention, one folder per split):

    <out>/train/whole/<id>.png   the whole drawing
    <out>/train/crop/<id>.png    its localized crop, same id
    <out>/train/metadata.jsonl   file_name, crop_file_name, id, tags, caption, digests, …
    <out>/dataset.json           recipe digest, credits, counts, tag vocabulary with frequencies
    <out>/recipe.sha256          which recipe the folder was begun with

An interrupted build resumes: every image is written to a temporary name and renamed, the
metadata is written last, from what is on disk.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from PIL import Image

from models_core.data import dicebear
from models_core.data.recipe import Recipe, Source

SPLITS = (("validation", 0.04), ("test", 0.12))  # the rest is train


class BuildError(ValueError):
    """The data set cannot be built here."""


def split_of(image_id: str) -> str:
    """The split an id belongs to, decided by its digest alone, so that splits never move."""
    point = int(hashlib.sha256(image_id.encode()).hexdigest()[:8], 16) / 2**32
    for name, share in SPLITS:
        if point < share:
            return name
        point -= share
    return "train"


def crop_image(whole: Image.Image, crop: tuple[float, float, float], size: int) -> Image.Image:
    """Cut the square (left, top, side as fractions of the width) and resize it, antialiased."""
    width = whole.width
    left, top, side = (f * width for f in crop)
    return whole.resize(
        (size, size), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side)
    )


def save_png(image: Image.Image, file: Path) -> None:
    """Write whole or not at all."""
    part = file.with_suffix(".part")
    image.save(part, format="PNG")
    part.replace(file)


class _Artist:
    """Draws one index at a time in a worker process, each style loaded once."""

    def __init__(self, recipe: Recipe, out: Path) -> None:
        self.recipe, self.out = recipe, out
        self.styles: dict[str, dicebear.Style] = {}

    def _style(self, name: str) -> dicebear.Style:
        if name not in self.styles:
            self.styles[name] = dicebear.Style(dicebear.style_definition(name))
        return self.styles[name]

    def draw(self, place: tuple[int, int]) -> dict[str, Any]:
        """Draw image `index` of source `number`, unless it is there, and describe it."""
        number, index = place
        size, source = self.recipe.image_size, self.recipe.sources[number]
        seed = f"{self.recipe.own_name(source, self.recipe.seed)}-{index}"
        drawing = dicebear.draw_options(source.groups, source.rules, seed)
        image_id = f"{self.recipe.own_name(source, self.recipe.name)}-{index:06d}"
        folder = self.out / split_of(image_id)
        whole_file, crop_file = folder / f"whole/{image_id}.png", folder / f"crop/{image_id}.png"
        if not (whole_file.exists() and crop_file.exists()):
            style = self._style(source.style)
            whole = dicebear.render(style, drawing, round(2 * size / source.crop[2]))
            save_png(crop_image(whole, source.crop, size), crop_file)
            save_png(crop_image(whole, (0, 0, 1), size), whole_file)
        tags = {group: tag for group, tag in drawing.tags.items() if tag}
        return {
            "file_name": f"whole/{image_id}.png",
            "crop_file_name": f"crop/{image_id}.png",
            "id": image_id,
            "tags": tags,
            "caption": ", ".join(tags.values()),
            "crop": list(source.crop),
            "source": f"dicebear/{source.style}",
            "sha256": hashlib.sha256(whole_file.read_bytes()).hexdigest(),
            "crop_sha256": hashlib.sha256(crop_file.read_bytes()).hexdigest(),
        }


_artist: _Artist


def _start(recipe: Recipe, out: Path) -> None:
    global _artist
    _artist = _Artist(recipe, out)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this worker when the build was killed: the pool's pipes alone would keep it for ever."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _draw(place: tuple[int, int]) -> dict[str, Any]:
    return _artist.draw(place)


def build(
    recipe: Recipe,
    out: Path,
    *,
    processes: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Build (or finish building) the data set under `out`; returns its summary."""
    _claim(recipe, out)
    for split in ("train", *(name for name, _ in SPLITS)):
        for kind in ("whole", "crop"):
            (out / split / kind).mkdir(parents=True, exist_ok=True)
    places = [(n, i) for n, source in enumerate(recipe.sources) for i in range(source.count)]
    rows: list[dict[str, Any]] = []
    # Spawned, not forked: where this process has drawn already, a fork inherits libvips without
    # its threads and waits for them for ever.
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, fresh, _start, (recipe, out)) as pool:
        for row in pool.map(_draw, places, chunksize=50):
            rows.append(row)
            if progress and (len(rows) % 100 == 0 or len(rows) == recipe.count):
                progress(len(rows), recipe.count)
    return _write_metadata(recipe, out, rows)


def _claim(recipe: Recipe, out: Path) -> None:
    """Mark the folder with its recipe before the first image, and refuse another's folder.

    Images already there are kept, so they must have been drawn by the same recipe.
    """
    mark, summary = out / "recipe.sha256", out / "dataset.json"
    begun = None
    if mark.exists():
        begun = mark.read_text().strip()
    elif summary.exists():
        begun = json.loads(summary.read_text())["recipe_sha256"]
    if begun not in (None, recipe.digest):
        raise BuildError(
            f"{out} was begun from another recipe (or the recipe was changed since); "
            "remove the folder or choose another one with --out"
        )
    out.mkdir(parents=True, exist_ok=True)
    _write_atomically(mark, recipe.digest + "\n")


def _write_metadata(recipe: Recipe, out: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    by_split: dict[str, list[dict[str, Any]]] = {"train": [], **{name: [] for name, _ in SPLITS}}
    seen: set[str] = set()
    for row in rows:
        if row["sha256"] not in seen:  # exact duplicates are dropped
            seen.add(row["sha256"])
            by_split[split_of(row["id"])].append(row)
    for split, members in by_split.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in members)
        _write_atomically(out / split / "metadata.jsonl", text)
    counts = Counter((g, t) for row in by_split["train"] for g, t in row["tags"].items())
    total = len(by_split["train"])
    summary = {
        "name": recipe.name,
        "recipe_sha256": recipe.digest,
        "sources": [_credit(source) for source in recipe.sources],
        "counts": {split: len(members) for split, members in by_split.items()},
        "duplicates": len(rows) - len(seen),
        "tags": {
            group: {tag: round(counts[group, tag] / max(total, 1), 5) for tag in tags}
            for group, tags in recipe.vocabulary().items()
        },
    }
    _write_atomically(out / "dataset.json", json.dumps(summary, indent=1, ensure_ascii=False))
    return summary


def _credit(source: Source) -> dict[str, Any]:
    """Who drew a source and under which licence, as the style's own definition says."""
    meta = dicebear.style_definition(source.style)["meta"]
    return {
        "style": source.style,
        "count": source.count,
        "title": meta["source"]["name"],
        "url": meta["source"]["url"],
        "creator": meta["creator"],
        "licence": meta["license"],
    }


def _write_atomically(file: Path, text: str) -> None:
    part = file.with_suffix(".part")
    part.write_text(text)
    part.replace(file)
