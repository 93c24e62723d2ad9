"""Stage 2, crop: where each picture's face is, and which square around it is the whole image.

Only places are decided here; the next stage cuts both images from the collected picture at once,
so that nothing is resampled twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from models_core.data import settings
from models_core.data.detectors import Face, open_detector
from models_core.data.sheets import Tile, save_sheet, spread
from models_core.data.stage import (
    Dropped,
    Outcome,
    Progress,
    Record,
    Stage,
    file_digest,
    items_of,
)
from models_core.data.workers import Workers

NEARLY = 0.7  # how sure the largest face must be, as a share of the surest one's score
Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels


@dataclass(frozen=True)
class FindFace:
    """The work on one record."""

    stages: Path
    settings: settings.Crop

    def __call__(self, record: Record) -> Outcome:
        if "crop" in record:  # the source knows, in fractions of the width
            left, top, side = (f * record["width"] for f in record["crop"])
            whole: Box = (0, 0, record["width"], record["height"])
            return Outcome({**record, "whole_box": whole, "crop_box": _square(left, top, side)})
        image = Image.open(self.stages / record["file"])
        face, reason = self._face(image)
        if face is None:
            return Outcome(reason=reason)
        crop = crop_box(face, image.size, self.settings)
        whole = whole_box(crop, image.size, self.settings.whole)
        found = [round(v, 2) for v in face]
        return Outcome({**record, "face": found, "whole_box": whole, "crop_box": crop})

    def _face(self, image: Image.Image) -> tuple[Face | None, str]:
        """The face to crop, or why there is none."""
        s = self.settings
        if s.detector == "none":
            return Face(0, 0, image.width, image.height, 1.0), ""
        detected = open_detector(s.detector, s.confidence, s.face_class)(image.convert("RGB"))
        if not detected:
            return None, "no face"
        seen = [face for face in detected if face.side >= s.min_face]
        if not seen:
            return None, f"face smaller than {s.min_face} pixels"
        # A large box that the detector half believes in is rarely a face beside a surer one.
        sure = [face for face in seen if face.score >= NEARLY * seen[0].score]
        if s.faces == "single" and len(sure) > 1:
            return None, "several faces"
        return max(sure, key=lambda face: face.side), ""


def crop_box(face: Face, size: tuple[int, int], wanted: settings.Crop) -> Box:
    """The square around a face, in whole pixels, moved and if need be shrunk into the picture."""
    margin, shift = (1.0, 0.0) if wanted.detector == "none" else (wanted.margin, wanted.shift)
    side = min(round(face.side * margin), *size)
    x, y = face.centre
    return _square(
        _within(round(x - side / 2), side, size[0]),
        _within(round(y + shift * face.side - side / 2), side, size[1]),
        side,
    )


def whole_box(crop: Box, size: tuple[int, int], how: str) -> Box:
    """The square that becomes the whole image; beyond the picture (`pad`) it is white."""
    width, height = size
    if how == "pad":
        side = max(size)
        return _square((width - side) // 2, (height - side) // 2, side)
    side = min(size)
    x, y = round((crop[0] + crop[2]) / 2), round((crop[1] + crop[3]) / 2)
    return _square(_within(x - side // 2, side, width), _within(y - side // 2, side, height), side)


def _within(start: int, side: int, length: int) -> int:
    return max(0, min(start, length - side))


def _square(left: float, top: float, side: float) -> Box:
    return left, top, left + side, top + side


def crop(
    wanted: settings.Crop,
    out: Path,
    records: Sequence[Record],
    workers: Workers,
    progress: Progress | None = None,
) -> list[Record]:
    """Run the stage; the records it hands on."""
    stage = Stage(out, "crop", [wanted, file_digest(wanted.detector)])
    items = items_of(records)
    if (finished := stage.finished(items)) is not None:
        return finished
    stages = stage.folder.parent
    outcomes = stage.run(items, FindFace(stages, wanted), workers, progress)
    kept = [outcome.record for outcome in outcomes if outcome.record]
    pairs = zip(records, outcomes, strict=True)
    dropped = [Dropped(record, o.reason) for record, o in pairs if o.record is None]
    boxed = [Tile(stages / r["file"], tuple(r["crop_box"])) for r in kept]
    save_sheet(stage.folder / "sheet.jpg", [(f"{len(kept)} crops", spread(boxed))])
    without = [Tile(stages / d.record["file"]) for d in dropped]
    save_sheet(stage.folder / "dropped.jpg", [(f"{len(dropped)} dropped", spread(without))])
    stage.finish(items, kept, dropped)
    return kept
