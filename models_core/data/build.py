"""Build a data set from a recipe: five stages, each in a folder of its own under `stages/`.

A build that was cut off goes on where it was; docs/data.md shows what the stages leave to look
at, stage.py says what is trusted, write.py what is made in the end.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from models_core.data.collect import collect
from models_core.data.crop import crop
from models_core.data.picture import write_file
from models_core.data.prune import prune
from models_core.data.recipe import Recipe
from models_core.data.stage import NAMES, Progress, read_lines
from models_core.data.super_resolve import super_resolve
from models_core.data.workers import Workers
from models_core.data.write import SPLIT_NAMES, write

__all__ = ["BuildError", "build", "stage_summaries"]


class BuildError(ValueError):
    """The data set cannot be built here."""


def build(
    recipe: Recipe,
    out: Path,
    *,
    processes: int = 2,
    until: str = "write",
    redo: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Build (or finish building) the data set under `out`; returns its summary.

    Args:
        until: the last stage to run; if it is not `write`, its own summary is returned.
        redo: go on in a folder of another version of the recipe. Stages that it does not change
            are not done again.
        progress: gets (stage, items done, of).

    Raises:
        BuildError: the folder belongs to another recipe, or nothing is left for the set.
    """
    if until not in NAMES:
        raise BuildError(f"no stage {until!r}; there are {', '.join(NAMES)}")
    if (whole := _built(recipe, out)) is not None:
        return whole
    _claim(recipe, out, redo)
    wanted = recipe.settings
    with Workers(processes) as workers:
        records = collect(recipe, out, workers, progress)
        if until != "collect":
            records = crop(wanted.crop, out, records, workers, progress)
        if until not in ("collect", "crop"):
            size = recipe.image_size
            records = super_resolve(wanted.super_resolve, size, out, records, workers, progress)
        if until in ("prune", "write"):
            records = prune(wanted.prune, out, records, workers, progress)
        if not records:
            raise BuildError(
                f"no picture is left; {out}/stages says why: python -m models_core data show {out}"
            )
        if until == "write":
            return write(recipe, out, records, progress)
    return stage_summaries(out)[until]


def stage_summaries(out: Path) -> dict[str, dict[str, Any]]:
    """The summaries of the stages done so far, in order."""
    files = {name: out / "stages" / name / "summary.json" for name in NAMES}
    return {name: json.loads(f.read_text()) for name, f in files.items() if f.exists()}


def _built(recipe: Recipe, out: Path) -> dict[str, Any] | None:
    """The summary of a set that is there already, as these stages or an earlier builder made it."""
    file = out / "dataset.json"
    if not file.exists():
        return None
    summary = json.loads(file.read_text())
    counts = [source.get("count") for source in summary["sources"]]
    if summary["recipe_sha256"] != recipe.digest or counts != [s.count for s in recipe.sources]:
        return None
    # Found pictures may have changed since; the stages see to that.
    if not all(source.drawn for source in recipe.sources):
        return None
    for split in SPLIT_NAMES:
        metadata = out / split / "metadata.jsonl"
        if not metadata.exists():
            return None
        for row in read_lines(metadata):
            for key in ("file_name", "crop_file_name"):
                if not (out / split / row[key]).is_file():
                    return None
    return summary


def _claim(recipe: Recipe, out: Path, redo: bool) -> None:
    """Mark the folder with its recipe before the first image, and refuse another's folder."""
    mark, summary = out / "recipe.sha256", out / "dataset.json"
    built = json.loads(summary.read_text()) if summary.exists() else {}
    begun = mark.read_text().strip() if mark.exists() else built.get("recipe_sha256")
    # Pictures that do not belong to the set are removed from its folders at the end.
    if begun is None and any((out / split).exists() for split in SPLIT_NAMES):
        raise BuildError(f"{out} holds pictures that no build made; choose another with --out")
    if redo:
        pass
    elif begun not in (None, recipe.digest):
        raise BuildError(
            f"{out} was begun from another recipe (or the recipe was changed since); "
            "choose another folder with --out, or change this one with --redo"
        )
    elif _count(source.get("count") for source in built.get("sources", ())) > _count(
        source.count for source in recipe.sources
    ):
        raise BuildError(
            f"{out} holds a larger set; choose another folder with --out, or --redo to shrink it"
        )
    out.mkdir(parents=True, exist_ok=True)
    write_file(mark, f"{recipe.digest}\n".encode())


def _count(counts: Iterable[int | None]) -> float:
    """All of them together; a source that does not know may have any number."""
    return sum(math.inf if count is None else count for count in counts)
