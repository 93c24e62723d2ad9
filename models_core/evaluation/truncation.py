"""The prototype alone at several truncations ψ, against real crops of its own resolution.

`compare` asks how good the prototypes are as pictures, beside the enhancer's. Here the question is
how well G draws what it was trained on, so both sides have its resolution: real crops are reduced
to it, and both are enlarged alike for the critic and the extractor. The row of other real crops
says what that alone costs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from models_core.data.dataset import contact_sheet, to_pixels, to_tensor
from models_core.evaluation.compare import Steps, open_measures, real_pictures
from models_core.evaluation.drawing import asked_tags
from models_core.evaluation.measuring import Figures
from models_core.evaluation.models import Model, picture_size, stylegan2, verified
from models_core.evaluation.recipe import Comparison
from models_core.evaluation.report import FIGURES, figure_cells, markdown
from models_core.releases.bundle import Bundle
from models_core.stylediffuser.pipeline import enlarge
from models_core.stylediffuser.prototype import Prototype

BATCH = 64
SHOWN = 64  # prototypes on the sheet


def sweep(
    comparison: Comparison,
    truncations: Sequence[float],
    run: Path,
    out: Path,
    *,
    command: str,
    device: str,
    threads: int,
) -> None:
    """Writes prototype.md, prototype.json and images/prototype.webp into `out`.

    Figures are kept in `run`, as those of `compare` are.
    """
    torch.set_num_threads(threads)
    bundle, n = verified(comparison), comparison.n
    size, own = picture_size(bundle), prototype_size(bundle)
    pixels, tags, dataset = real_pictures(comparison, own)
    pixels = enlarged(pixels, size)
    measures = open_measures(comparison, bundle, pixels[:n], run, device)
    asked = asked_tags(bundle, comparison.seeds)
    rows: list[tuple[str, Figures]] = []
    with Steps("real") as steps:
        floor = measures(pixels[n : 2 * n], tags[n : 2 * n], steps)
    rows.append(("real crops (the floor)", floor))
    for psi in truncations:
        images = drawn(stylegan2(bundle, device, psi), comparison.seeds, asked)
        with Steps(f"ψ = {psi}") as steps:
            rows.append((f"ψ = {psi}", measures(images, asked, steps)))
    (out / "images").mkdir(parents=True, exist_ok=True)
    sheet = contact_sheet(images[:SHOWN], 8)
    sheet.save(out / "images" / "prototype.webp", format="WEBP", quality=80, method=6)
    facts = {
        "dataset": dataset,
        "extractor": comparison.extractor,
        "n": n,
        "release": bundle.digest,
    }
    found = [{"pictures": name, **asdict(figures)} for name, figures in rows]
    (out / "prototype.json").write_text(json.dumps({**facts, "rows": found}, indent=2) + "\n")
    page = text(command, comparison, bundle, own, rows, psi)
    (out / "prototype.md").write_text(page, encoding="utf-8")


def prototype_size(bundle: Bundle) -> int:
    """Pixels a side of what G draws."""
    config = Prototype.load_config(bundle.component("pipeline") / "prototype")
    return config["generator"]["img_resolution"]


def enlarged(pixels: np.ndarray, size: int) -> np.ndarray:
    """uint8 [n, R, R, 3] → uint8 [n, size, size, 3], by the filter that prototypes pass."""
    parts = [
        to_pixels(enlarge(to_tensor(pixels[i : i + BATCH]), size))
        for i in range(0, len(pixels), BATCH)
    ]
    return np.concatenate(parts)


def drawn(draw: Model, seeds: range, asked: Sequence[dict[str, str]]) -> np.ndarray:
    """A picture a seed, uint8 [n, size, size, 3]."""
    parts = []
    for start in tqdm(range(0, len(seeds), BATCH), desc="prototypes", leave=False):
        part = slice(start, start + BATCH)
        parts.append(draw(seeds[part], [list(tags.values()) for tags in asked[part]]))
    return np.concatenate(parts)


def text(
    command: str,
    comparison: Comparison,
    bundle: Bundle,
    own: int,
    rows: Sequence[tuple[str, Figures]],
    shown: float,
) -> str:
    table = markdown(
        ["pictures", *FIGURES], [[name, *figure_cells(figures)] for name, figures in rows]
    )
    last = comparison.seeds.stop - 1
    return "\n\n".join(
        [
            "# The prototype alone",
            f"Made by\n\n```\n{command}\n```",
            f"StyleGAN2 of the release “{bundle.manifest['title']}” (`{bundle.digest}`) against "
            f"{comparison.n} real crops that no model was trained on, both at its own "
            f"{own}×{own} pixels and enlarged alike, by truncation ψ. Benign is a critic's score "
            f"of 0.7 or more; what enlarging costs, the row of real crops shows. "
            f"Distances by {comparison.extractor}, n = {comparison.n} a row, seeds "
            f"{comparison.seeds.start} to {last} with the tags that the release draws for them. "
            "What the columns mean: [evaluation.md](evaluation.md).",
            table,
            f"The first {SHOWN} seeds at ψ = {shown}, none left out:",
            "![Prototypes](images/prototype.webp)\n",
        ]
    )
