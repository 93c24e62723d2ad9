"""Previews as pages show them: the grid, what it says of the release, and how far a new one is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.urls import reverse

from webgui.registry.models import Release
from webgui.studio import grid, previews, report
from webgui.studio.models import Preview

WORDS = {
    Preview.Verdict.GOOD: ("Good preview", "good"),
    Preview.Verdict.BAD: ("Bad preview", "bad"),
}


@dataclass(frozen=True)
class Tile:
    """One picture of a grid."""

    small: str
    whole: str
    about: str
    score: str
    benign: bool


@dataclass(frozen=True)
class Running:
    """A preview that is under way."""

    preview: Preview
    percent: int
    note: str


@dataclass(frozen=True)
class Shown:
    """What there is to see of one release."""

    running: Running | None = None
    judged: Preview | None = None
    word: str = ""
    mood: str = ""
    tiles: Sequence[Tile] = ()
    facts: Sequence[tuple[str, str]] = ()
    summary: str = ""


def of(releases: list[Release]) -> dict[int, Shown]:
    """By the release's key; a release without a preview has an empty one."""
    standings = previews.standings(releases)
    return {release.pk: _shown(standings[release.pk]) for release in releases}


def _shown(standing: previews.Standing) -> Shown:
    running = _running(standing.under_way) if standing.under_way else None
    judged = standing.judged
    if judged is None:
        return Shown(running)
    word, mood = WORDS[Preview.Verdict(judged.verdict)]
    return Shown(
        running, judged, word, mood, _tiles(judged), report.figures(judged), report.summary(judged)
    )


def _running(preview: Preview) -> Running:
    return Running(preview, round(100 * preview.job.fraction), grid.note(preview))


def _tiles(preview: Preview) -> list[Tile]:
    threshold = preview.figures.get("min_score", 0)
    return [_tile(preview, image, threshold) for image in preview.images]


def _tile(preview: Preview, image: dict, threshold: float) -> Tile:
    whole = reverse("api:preview_image", args=[preview.pk, image["seed"]])
    traits = ", ".join(image["tags"])
    return Tile(
        small=f"{whole}?size=128",
        whole=whole,
        about=f"Seed {image['seed']}{': ' if traits else ''}{traits}",
        score=f"{image['score']:.2f}",
        benign=image["score"] >= threshold,
    )
