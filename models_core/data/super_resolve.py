"""Stage 3, super-resolve: both images of each picture at the recipe's size.

What is too small is first enlarged ×4 by Real-ESRGAN, as in the thesis; then everything is
resized with Lanczos' filter over its whole support, which antialiases when it shrinks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from models_core.data import settings
from models_core.data.crop import Box
from models_core.data.picture import png_bytes
from models_core.data.sheets import Tile, save_sheet, spread
from models_core.data.stage import (
    Outcome,
    Progress,
    Record,
    Stage,
    file_digest,
    items_of,
    save,
)
from models_core.data.workers import Workers

if TYPE_CHECKING:
    from models_core.upscale.upscaler import Upscaler


@cache
def open_upscaler(model: str) -> Upscaler:
    """Loaded once in each process."""
    from models_core.upscale.upscaler import Upscaler

    return Upscaler.from_ncnn() if model == "realesrgan" else Upscaler.open(Path(model))


def cut(image: Image.Image, box: Box, size: int) -> Image.Image:
    """The square `box` at size×size, antialiased; white beyond the picture."""
    left, top, right, bottom = box
    if min(left, top) < 0 or right > image.width or bottom > image.height:
        side = round(right - left)
        canvas = Image.new("RGB", (side, side), "white")
        canvas.paste(image, (round(-left), round(-top)))
        image, box = canvas, (0, 0, side, side)
    return image.resize((size, size), Image.Resampling.LANCZOS, box=box)


@dataclass(frozen=True)
class Resolve:
    """The work on one record."""

    stages: Path
    folder: Path
    size: int
    model: str

    def __call__(self, record: Record) -> Outcome:
        image = Image.open(self.stages / record["file"]).convert("RGB")
        files: dict[str, str] = {}
        done: dict[str, Any] = {"enlarged": []}
        for kind in ("whole", "crop"):
            picture, enlarged = self._resolve(image, tuple(record[f"{kind}_box"]))
            name = f"{kind}/{record['id']}.png"
            files |= save(self.folder, name, png_bytes(picture))
            done[kind + "_file"] = f"super-resolve/{name}"
            done[kind + "_sha256"] = files[name]
            if enlarged:
                done["enlarged"].append(kind)
        if "crop" not in record:
            done["crop"] = _fractions(record["crop_box"], record["whole_box"])
        return Outcome({**record, **done}, files=files)

    def _resolve(self, image: Image.Image, box: Box) -> tuple[Image.Image, bool]:
        side = round(box[2] - box[0])
        if self.model == "none" or side >= self.size:
            return cut(image, box, self.size), False
        # Enlarged from whole pixels: the network knows what those look like.
        (large,) = open_upscaler(self.model)([cut(image, box, side)])
        return cut(large, (0, 0, *large.size), self.size), True


def _fractions(crop: Sequence[float], whole: Sequence[float]) -> list[float]:
    """Left, top, side of the crop in sides of the whole image."""
    side = whole[2] - whole[0]
    values = crop[0] - whole[0], crop[1] - whole[1], crop[2] - crop[0]
    return [round(value / side, 5) for value in values]


def super_resolve(
    wanted: settings.SuperResolve,
    size: int,
    out: Path,
    records: Sequence[Record],
    workers: Workers,
    progress: Progress | None = None,
) -> list[Record]:
    """Run the stage; the records it hands on."""
    stage = Stage(out, "super-resolve", [wanted, size, file_digest(wanted.model)])
    items = items_of(records)
    if (finished := stage.finished(items)) is not None:
        return finished
    stages = stage.folder.parent
    resolve = Resolve(stages, stage.folder, size, wanted.model)
    outcomes = stage.run(items, resolve, workers, progress)
    kept = [outcome.record for outcome in outcomes if outcome.record]
    counts = {kind: sum(kind in r["enlarged"] for r in kept) for kind in ("crop", "whole")}
    rows = []
    for text, enlarged in (("enlarged fourfold first", True), ("only resized", False)):
        crops = [
            Tile(stages / r["crop_file"]) for r in kept if ("crop" in r["enlarged"]) is enlarged
        ]
        rows.append((f"{len(crops)} crops {text}", spread(crops)))
    save_sheet(stage.folder / "sheet.jpg", rows)
    stage.finish(items, kept, [], enlarged=counts)
    return kept
