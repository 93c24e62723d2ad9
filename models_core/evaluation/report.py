"""results.md and results.json: the table, how it was made, and what the pictures look like."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models_core.data.dataset import contact_sheet
from models_core.evaluation.bars import bars
from models_core.evaluation.drawing import Speed
from models_core.evaluation.measuring import Figures
from models_core.evaluation.recipe import (
    REAL,
    STABLE_DIFFUSION,
    STYLEDIFFUSER,
    STYLEGAN2,
    WHOLE,
    Row,
)

TITLES = {
    REAL: "real pictures (the floor)",
    STYLEGAN2: "StyleGAN2 alone",
    STABLE_DIFFUSION: "Stable Diffusion + LoRA",
    STYLEDIFFUSER: "StyleDiffuser",
}
FIGURES = ("benign (95 %)", "two-sample", "Fréchet", "kernel × 1000", "precision", "recall")
SHEET = 64  # pictures a sheet
SIDE_BY_SIDE = 10  # seeds whose pictures by every model stand under each other


@dataclass(frozen=True)
class Measured:
    """One row with all that was measured, and its first pictures."""

    row: Row
    figures: Figures
    speed: Speed | None  # None for real pictures
    pictures: np.ndarray  # uint8 [SHEET or fewer, size, size, 3], the first seeds', uncurated


@dataclass(frozen=True)
class Context:
    """What the whole table was made of and with."""

    command: str
    dataset: str
    extractor: str
    n: int
    tag_groups: Sequence[str]
    facts: Mapping[str, str]  # said under the table, in this order
    left_out: Mapping[str, str]  # rows by name, and why


def write_results(out: Path, context: Context, rows: Sequence[Measured]) -> None:
    """`results.json`, `results.md` and `images/results-*.webp` in the folder `out`."""
    lines = [line(context, row) for row in rows]
    sheets = write_sheets(out / "images", rows)
    result = {
        "dataset": context.dataset,
        "extractor": context.extractor,
        "n": context.n,
        "rows": lines,
    }
    (out / "results.json").write_text(json.dumps(result, indent=2, allow_nan=False) + "\n")
    text = "\n\n".join(
        [
            "# Results",
            f"Made by\n\n```\n{context.command}\n```",
            "What each column means, and how to make the table: [evaluation.md](evaluation.md).",
            table(lines, rows),
            *([left_out(context)] if context.left_out else []),
            "\n".join(f"- **{name}**: {fact}" for name, fact in context.facts.items()),
            bar_table(lines),
            agreement_table(rows),
            sheets,
        ]
    )
    (out / "results.md").write_text(text + "\n", encoding="utf-8")


def line(context: Context, measured: Measured) -> dict[str, Any]:
    """A row of results.json."""
    figures, speed, row = measured.figures, measured.speed, measured.row
    return {
        "model": row.model,
        "steps": row.steps,
        "conditioning": row.conditioning,
        "benign_rate": figures.benign_rate,
        "benign_low": figures.benign_low,
        "benign_high": figures.benign_high,
        "two_sample_accuracy": figures.two_sample_accuracy,
        "frechet": figures.frechet,
        "kernel": figures.kernel,
        "precision": figures.precision,
        "recall": figures.recall,
        "tag_agreement": float(np.mean([figures.agreement[g] for g in context.tag_groups])),
        "seconds_per_image": speed and speed.seconds_per_image,
        "images_per_second": speed and speed.images_per_second,
        "peak_mib": speed and speed.peak_mib,
    }


def table(lines: Sequence[Mapping[str, Any]], rows: Sequence[Measured]) -> str:
    head = [
        *("model", "steps", "conditioning", *FIGURES),
        *("tags", "s/image", "images/s", "peak MiB"),
    ]
    body = []
    for one, measured in zip(lines, rows, strict=True):
        speed = [f"{one[name]:{how}}" if one[name] else "" for name, how in SPEEDS]
        body.append(
            [
                TITLES[one["model"]],
                str(one["steps"] or ""),
                one["conditioning"] or "",
                *figure_cells(measured.figures),
                f"{one['tag_agreement']:.1%}",
                *speed,
            ]
        )
    return markdown(head, body)


def figure_cells(figures: Figures) -> list[str]:
    """The columns `FIGURES` of a row."""
    low, high = figures.benign_low, figures.benign_high
    return [
        f"{figures.benign_rate:.1%} ({low:.1%}–{high:.1%})",
        f"{figures.two_sample_accuracy:.1%}",
        f"{figures.frechet:.2f}",
        f"{1000 * figures.kernel:.2f} ± {1000 * figures.kernel_deviation:.2f}",
        f"{figures.precision:.3f}",
        f"{figures.recall:.3f}",
    ]


SPEEDS = (("seconds_per_image", ".3f"), ("images_per_second", ".2f"), ("peak_mib", ".0f"))


def left_out(context: Context) -> str:
    notes = [f"- {name}: {why}" for name, why in context.left_out.items()]
    return "\n".join(["Left out, since they could not be measured:", "", *notes])


def bar_table(lines: Sequence[Mapping[str, Any]]) -> str:
    found = bars(lines)
    if not found:
        return "## Bars\n\nNone can be told without StyleDiffuser's row at 10 steps."
    body = [[bar.what, bar.figure, "yes" if bar.reached else "**no**"] for bar in found]
    return "## Bars\n\nStyleDiffuser at 10 steps.\n\n" + markdown(
        ["bar", "measured", "reached"], body
    )


def agreement_table(rows: Sequence[Measured]) -> str:
    groups = list(rows[0].figures.agreement)
    body = [
        [_title(measured.row), *(f"{measured.figures.agreement[g]:.1%}" for g in groups)]
        for measured in rows
    ]
    return "## Tag agreement by group\n\n" + markdown(["model", *groups], body)


def write_sheets(folder: Path, rows: Sequence[Measured]) -> str:
    """The picture files, and the Markdown that shows them."""
    folder.mkdir(parents=True, exist_ok=True)
    few = np.concatenate([measured.pictures[:SIDE_BY_SIDE] for measured in rows])
    _save(few, min(SIDE_BY_SIDE, len(rows[0].pictures)), folder / "results-side-by-side.webp")
    order = "; ".join(_title(measured.row) for measured in rows)
    parts = [
        "## Pictures\n\nNone was chosen: the first seeds' pictures, in order.",
        "The same seeds and tags by every model, a model a row (real pictures have no seed): "
        f"{order}.",
        "![The same seeds by every model](images/results-side-by-side.webp)",
    ]
    for measured in rows:
        name = f"results-{measured.row.name}.webp"
        _save(measured.pictures, 8, folder / name)
        title = _title(measured.row)
        parts.append(f"### {title}\n\n![{len(measured.pictures)} pictures](images/{name})")
    return "\n\n".join(parts)


def _save(pictures: np.ndarray, columns: int, file: Path) -> None:
    contact_sheet(pictures, columns).save(file, format="WEBP", quality=80, method=6)


def _title(row: Row) -> str:
    title = TITLES[row.model]
    if row.steps:
        title += f", {row.steps} steps"
    if row.model == STYLEDIFFUSER and row.conditioning != WHOLE:
        title += f", {row.conditioning}"
    return title


def markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
