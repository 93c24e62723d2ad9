"""A preview: what a release draws from the seeds asked for, how fast, with how much memory, and
which of its parts change nothing.

Nothing is curated away: whoever looks at the grid shall see what curation would have dropped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from generator_worker import memory
from generator_worker.batches import Workshop, png
from generator_worker.contract import PartEffect, PreviewParams, PreviewReport, RunJob
from generator_worker.curation import Curator, Thresholds
from generator_worker.drawing import AT_ONCE, Painter
from generator_worker.engine import Engine, device_in_use
from generator_worker.outbox import Spool
from generator_worker.peak import PeakMemory
from generator_worker.refusals import BadParams
from generator_worker.signs import Signs

if TYPE_CHECKING:
    from models_core.releases import Draft, LoadedRelease

DRAFTING = 0.8
"""Share of an image's time that generation takes; scoring and upscaling take the rest."""
ALONE = 2
"""So many of the seeds are drawn alone each, and again without each part: then a difference is
the part's, and not that of another batch size."""


@dataclass(frozen=True)
class Part:
    """A part of a release that can be left out: by params, or by loading the release anew."""

    name: str
    kind: Literal["adapter", "lora"]
    off: dict[str, Any] = field(default_factory=dict)
    folder: str = ""


def make(workshop: Workshop, job: RunJob, spool: Spool, signs: Signs) -> PreviewReport:
    """Draw the grid into the spool and measure."""
    try:
        asked = PreviewParams.model_validate(job.params)
    except ValueError as error:
        raise BadParams(f"The preview's params cannot be read: {error}") from error
    began = time.monotonic()
    with signs.kept_up():
        painter = workshop.engine.painter(job.release_digest, lambda note: signs(0.0, note))
    loading = time.monotonic() - began
    parts = parts_of(painter.release)
    device = workshop.config.device
    grid = Grid(asked, spool, signs, len(parts), painter.release.manifest.get("params", {}))
    with PeakMemory(device) as peak:
        grid.draw(painter)
    effects = [grid.effect(part, painter) for part in parts if not part.folder]
    del painter  # where memory does not hold two, it makes room for the others
    for part in parts:
        if part.folder:
            effects.append(_effect_of_lora(workshop.engine, job.release_digest, grid, part))
            memory.give_back(device)
    return PreviewReport(
        device=device_in_use(device)[0][:200],
        load_seconds=round(loading, 3),
        peak_memory_bytes=peak.bytes,
        parts=tuple(effects),
        **grid.figures(),
    )


def parts_of(release: LoadedRelease) -> list[Part]:
    adapter = Part("adapter", "adapter", off={"adapter_scale": 0.0, "style_scale": 0.0})
    loras = [
        Part((lora.name or lora.folder)[:200], "lora", folder=lora.folder) for lora in release.loras
    ]
    return [adapter, *loras] if "adapter" in release.parts else loras


def _effect_of_lora(engine: Engine, digest: str, grid: Grid, part: Part) -> PartEffect:
    with grid.signs.kept_up():
        painter = engine.without(digest, part.folder)
    return grid.effect(part, painter)


@dataclass
class Grid:
    """The pictures of one preview, in the order of the seeds."""

    asked: PreviewParams
    spool: Spool
    signs: Signs
    parts: int
    params: dict[str, Any]
    """The release's own."""
    drafts: list[Draft] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    safety: list[float] = field(default_factory=list)
    seconds: list[tuple[int, float]] = field(default_factory=list)
    """(images, time) of each stretch."""
    done: int = 0

    def draw(self, painter: Painter) -> None:
        for seeds in self._stretches():
            began = time.monotonic()
            drafts = self._generate(painter, seeds, "drawing the grid", {})
            images = [draft.image for draft in drafts]
            scores = [_number(score) for score in painter.score(images)]
            safety = painter.safety(images)
            for index, image in enumerate(painter.upscale(images)):
                self.spool.add(
                    png(image),
                    size=image.size,
                    seed=drafts[index].seed,
                    score=scores[index],
                    safety=safety[index],
                    tags=drafts[index].tags,
                )
            self.drafts += drafts
            self.scores += scores
            self.safety += safety
            self.seconds.append((len(seeds), time.monotonic() - began))

    def effect(self, part: Part, painter: Painter) -> PartEffect:
        """How the first images change with the part left out, by its params or in the painter."""
        name = "the adapter" if part.kind == "adapter" else part.name
        what = f"drawing without {name}"
        differences = []
        for draft in self.drafts[:ALONE]:
            (without,) = self._generate(painter, [draft.seed], what, part.off)
            differences.append(difference(draft.image, without.image))
        return PartEffect(
            part=part.name,
            kind=part.kind,
            largest=max(largest for largest, _ in differences),
            mean=round(sum(mean for _, mean in differences) / len(differences), 4),
        )

    def figures(self) -> dict[str, Any]:
        curator = Curator(Thresholds.read(self.params))
        images = [draft.image for draft in self.drafts]
        kept = curator.keep(images, self.scores, self.safety)
        threshold = curator.thresholds.min_score
        first, *others = self.seconds
        steady = others or [first]
        return {
            "first_seconds": round(first[1], 3),
            "seconds_per_image": round(
                sum(seconds for _, seconds in steady) / sum(images for images, _ in steady), 4
            ),
            "min_score": threshold,
            "benign": sum(score >= threshold for score in self.scores),
            "kept": len(kept),
            "curation": curator.summary()[:500],
        }

    def _stretches(self) -> list[Sequence[int]]:
        seeds = self.asked.seeds
        alone = [seeds[i : i + 1] for i in range(min(ALONE, len(seeds)))]
        rest = range(ALONE, len(seeds), AT_ONCE)
        return [*alone, *(seeds[i : i + AT_ONCE] for i in rest)]

    def _generate(
        self, painter: Painter, seeds: Sequence[int], what: str, params: dict[str, Any]
    ) -> list[Draft]:
        of = len(self.asked.seeds) + self.parts * min(ALONE, len(self.asked.seeds))

        def tell(share: float) -> None:
            self.signs((self.done + DRAFTING * share * len(seeds)) / of, what)

        drafts = painter.draw(seeds, tags=self.asked.tags, params=params, progress=tell)
        self.done += len(seeds)
        return drafts


def _number(score: float) -> float:
    """A critic that has lost its senses says nothing good."""
    return 0.0 if math.isnan(score) else score


def difference(one: Image.Image, other: Image.Image) -> tuple[int, float]:
    """(largest, mean) difference of any pixel's red, green or blue, 0 to 255."""
    first, second = (np.asarray(image.convert("RGB"), dtype=np.int16) for image in (one, other))
    if first.shape != second.shape:
        return 255, 255.0
    apart = np.abs(first - second)
    return int(apart.max()), float(apart.mean())
