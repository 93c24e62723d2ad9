"""Judging a release by what a worker drew with it, and writing that down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.conf import settings

from generator_worker.contract import PreviewReport
from webgui.buffer.pictures import Picture
from webgui.registry import loading

from .models import Job, Preview

Verdict = Preview.Verdict


@dataclass(frozen=True)
class Reason:
    """What speaks against a release, and what to do about it."""

    code: str
    text: str
    advice: str


def judge(job: Job, pictures: Sequence[Picture], report: PreviewReport) -> None:
    """Write the preview of a finished job; a good one moves a draft on. Inside a transaction."""
    reasons = [*_of_pictures(pictures, report), *_of_parts(report)]
    Preview.objects.filter(pk=job.pk).update(
        verdict=Verdict.BAD if reasons else Verdict.GOOD,
        reasons=[asdict(reason) for reason in reasons],
        figures=report.model_dump(mode="json"),
        images=[_entry(picture) for picture in pictures],
    )
    if not reasons:
        loading.note_good_preview(job.release)


def note_failure(job: Job) -> None:
    """No worker could say anything about the release, except why."""
    times = "once" if job.attempt == 1 else f"{job.attempt} times"
    reason = Reason(
        "failed",
        f"Tried {times}, and failed: {job.reason}" if job.attempt else job.reason,
        "If that names the release, build or compose it anew; if it names a worker, see the "
        "fleet page and that worker's log. Then preview again.",
    )
    Preview.objects.filter(pk=job.pk, verdict=Verdict.PENDING).update(
        verdict=Verdict.BAD, reasons=[asdict(reason)]
    )


def _of_pictures(pictures: Sequence[Picture], report: PreviewReport) -> list[Reason]:
    if not pictures:
        return [
            Reason(
                "no_image",
                "The worker drew nothing.",
                "Its log says why. Preview again, or compose the release anew.",
            )
        ]
    found = []
    side = settings.AVATAR_SIZE
    sizes = {(picture.listed.width, picture.listed.height) for picture in pictures}
    if strange := sorted(sizes - {(side, side)}):
        width, height = strange[0]
        found.append(
            Reason(
                "wrong_size",
                f"It draws {width}×{height} pixels; this server gives out {side}×{side}.",
                "Compose it with an upscaler and a size that lead there, or run a server with "
                f"STYLEDIFFUSER_AVATAR_SIZE={width}.",
            )
        )
    if not report.benign:
        found.append(
            Reason(
                "nothing_benign",
                f"The critic calls none of {len(pictures)} images benign (a score of "
                f"{report.min_score:g} or more).",
                "Look at the grid: if the images are good, the critic does not know this style, so "
                "take another or allow a lower score (min_score); if they are not, prototype, base "
                "and LoRA do not go together, or strength and adapter weights are off.",
            )
        )
    elif not report.kept:
        found.append(
            Reason(
                "nothing_kept",
                f"Workers would keep none of {len(pictures)} images: {report.curation}.",
                "See max_unsafe and min_distance in the release's parameters.",
            )
        )
    return found


def _of_parts(report: PreviewReport) -> list[Reason]:
    names = {"adapter": "The adapter", "lora": "The LoRA"}
    return [
        Reason(
            "idle_part",
            f"{names[part.kind]}{'' if part.kind == 'adapter' else f' {part.part}'} changes "
            "nothing: the images are the same without it.",
            "Leave it out, or give it a weight; one that was made for another base may fit no "
            "layer of this one.",
        )
        for part in report.parts
        if part.changes_nothing
    ]


def _entry(picture: Picture) -> dict[str, Any]:
    listed = picture.listed
    return {
        "seed": listed.seed,
        "digest": picture.digest,
        "bytes": picture.bytes,
        "width": listed.width,
        "height": listed.height,
        "score": listed.score,
        "safety": listed.safety,
        "tags": list(listed.tags),
    }
