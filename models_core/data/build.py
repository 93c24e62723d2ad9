"""Build a data set from a recipe: images, paired crops, tags, and splits that never move.

Layout (the Hugging Face *imagefolder* convention, one folder per split):

    <out>/train/whole/<id>.png   the whole drawing
    <out>/train/crop/<id>.png    its localized crop, same id
    <out>/train/metadata.jsonl   file_name, crop_file_name, id, tags, caption, digests, …
    <out>/dataset.json           recipe digest, counts, tag vocabulary with frequencies

An interrupted build resumes: every image is written to a temporary name and renamed, the
metadata is written last, from what is on disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from models_core.data import dicebear

SPLITS = (("validation", 0.04), ("test", 0.12))  # the rest is train


@dataclass(frozen=True)
class Recipe:
    name: str
    style: str
    count: int
    seed: str
    image_size: int
    crop: tuple[float, float, float]
    groups: tuple[dicebear.Group, ...]
    rules: tuple[dicebear.Rule, ...]
    digest: str

    @classmethod
    def read(cls, file: Path) -> Recipe:
        raw = file.read_bytes()
        table = tomllib.loads(raw.decode())
        left, top, side = table["crop"]
        return cls(
            name=table["name"],
            style=table["style"],
            count=table["count"],
            seed=table["seed"],
            image_size=table["image_size"],
            crop=(left, top, side),
            groups=dicebear.parse_groups(table["groups"]),
            rules=dicebear.parse_rules(table.get("rules", [])),
            digest=hashlib.sha256(raw).hexdigest(),
        )


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
    os.replace(part, file)


class _Artist:
    """Draws one index at a time in a worker process, the style loaded once."""

    def __init__(self, recipe: Recipe, out: Path) -> None:
        self.recipe, self.out = recipe, out
        self.style = dicebear.Style(dicebear.style_definition(recipe.style))

    def draw(self, index: int) -> dict[str, Any]:
        recipe = self.recipe
        drawing = dicebear.draw_options(recipe.groups, recipe.rules, f"{recipe.seed}-{index}")
        image_id = f"{recipe.name}-{index:06d}"
        folder = self.out / split_of(image_id)
        whole_file, crop_file = folder / f"whole/{image_id}.png", folder / f"crop/{image_id}.png"
        if not (whole_file.exists() and crop_file.exists()):
            whole = dicebear.render(self.style, drawing, round(2 * recipe.image_size / recipe.crop[2]))
            save_png(crop_image(whole, recipe.crop, recipe.image_size), crop_file)
            save_png(crop_image(whole, (0, 0, 1), recipe.image_size), whole_file)
        tags = {group: tag for group, tag in drawing.tags.items() if tag}
        return {
            "file_name": f"whole/{image_id}.png",
            "crop_file_name": f"crop/{image_id}.png",
            "id": image_id,
            "tags": tags,
            "caption": ", ".join(tags.values()),
            "crop": list(recipe.crop),
            "source": f"dicebear/{recipe.style}",
            "sha256": hashlib.sha256(whole_file.read_bytes()).hexdigest(),
            "crop_sha256": hashlib.sha256(crop_file.read_bytes()).hexdigest(),
        }


_artist: _Artist


def _start(recipe: Recipe, out: Path) -> None:
    global _artist
    _artist = _Artist(recipe, out)


def _draw(index: int) -> dict[str, Any]:
    return _artist.draw(index)


def build(
    recipe: Recipe,
    out: Path,
    *,
    processes: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Build (or finish building) the data set under `out`; returns its summary."""
    for split in ("train", *(name for name, _ in SPLITS)):
        for kind in ("whole", "crop"):
            (out / split / kind).mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    with ProcessPoolExecutor(processes, initializer=_start, initargs=(recipe, out)) as pool:
        for row in _in_order(pool, recipe.count):
            rows.append(row)
            if progress and len(rows) % 100 == 0:
                progress(len(rows), recipe.count)
    return _write_metadata(recipe, out, rows)


def _in_order(pool: ProcessPoolExecutor, count: int) -> Iterator[dict[str, Any]]:
    yield from pool.map(_draw, range(count), chunksize=50)


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
    vocabulary: dict[str, dict[str, float]] = {}
    for group in recipe.groups:
        tags = dict.fromkeys(c.tag for c in group.choices if c.tag)
        vocabulary[group.name] = {t: round(counts[group.name, t] / max(total, 1), 5) for t in tags}
    summary = {
        "name": recipe.name,
        "recipe_sha256": recipe.digest,
        "licence": dicebear.style_definition(recipe.style)["meta"]["license"],
        "creator": dicebear.style_definition(recipe.style)["meta"]["creator"],
        "counts": {split: len(members) for split, members in by_split.items()},
        "duplicates": len(rows) - len(seen),
        "tags": vocabulary,
    }
    _write_atomically(out / "dataset.json", json.dumps(summary, indent=1, ensure_ascii=False))
    return summary


def _write_atomically(file: Path, text: str) -> None:
    part = file.with_suffix(".part")
    part.write_text(text)
    os.replace(part, file)
