"""A preview as it is shown: its pictures, and what there is to say while it is made."""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL import Image

from webgui.buffer.pictures import stored
from webgui.buffer.renditions import read_size
from webgui.fleet import roster

from .models import Job, Preview
from .problems import NoSuchPreview


@dataclass(frozen=True)
class Shown:
    data: bytes
    type: str


def picture(preview: Preview, seed: int, size: str | None = None) -> Shown:
    """One picture of the grid: the stored PNG, or a smaller WebP where a size is asked for."""
    side = read_size(size) if size is not None else None
    digest = next((image["digest"] for image in preview.images if image["seed"] == seed), "")
    try:
        data = stored(digest, Preview.SHELF).read_bytes()
    except FileNotFoundError as error:
        raise NoSuchPreview(f"The preview has no picture of seed {seed}.") from error
    if side is None:
        return Shown(data, "image/png")
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        small = image.convert("RGB")
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    small.save(out, "WEBP", quality=90, method=4)
    return Shown(out.getvalue(), "image/webp")


def note(preview: Preview) -> str:
    """What is at hand, or what it waits for."""
    job = preview.job
    if job.state == Job.State.RUNNING:
        return job.note
    if job.state != Job.State.QUEUED:
        return ""
    if job.worker:
        return f"{job.worker} finishes what it is at first."
    if roster.at_work().exists():
        return "It goes to a worker within seconds."
    return "No worker is at work right now. It goes on as soon as one is."
