"""Carrying out one order: generate, curate, upscale, spool.

Every outcome is final for the broker: the batch is in the outbox, or the server was told why
not. Only a dead process leaves the message to be handed out again.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from celery.exceptions import SoftTimeLimitExceeded
from PIL import Image

from generator_worker.config import Config, software
from generator_worker.contract import GenerateBatch, Manifest
from generator_worker.curation import CurationError, Curator, Thresholds
from generator_worker.engine import BrokenRelease, Engine, UnknownRelease
from generator_worker.journal import MAX_STARTS, Journal
from generator_worker.outbox import Outbox, Spool
from generator_worker.reports import Reports

if TYPE_CHECKING:
    from models_core.releases import Draft, LoadedRelease

log = logging.getLogger(__name__)

SUB_BATCH = 8
DRAFTING = 0.75
"""Share of a sub-batch's time that generation takes; curation and upscaling take the rest."""
OWN_PARAMS = frozenset({"tags", "min_score", "max_unsafe", "min_distance"})
"""What the worker reads from an order's params; the rest is the model's."""


class EmptyBatch(RuntimeError):
    """Curation kept nothing."""


class DeadlyOrder(RuntimeError):
    """Making this batch has killed the process again and again."""


class BadParams(ValueError):
    """The order's params cannot be used."""


REFUSALS = (UnknownRelease, BrokenRelease, BadParams, CurationError, DeadlyOrder)


@dataclass(frozen=True)
class Made:
    """A batch that was made and spooled."""

    images: int
    seconds: float
    """Without loading the release: what the next batch will take."""


@dataclass(frozen=True)
class Workshop:
    """What carrying out an order needs."""

    config: Config
    engine: Engine
    outbox: Outbox
    journal: Journal
    reports: Reports


def carry_out(workshop: Workshop, order: GenerateBatch) -> Made | None:
    """Make one batch and spool it; None if that could not or need not be done.

    Asked again for a batch that is spooled or settled, it makes nothing.
    """
    if workshop.outbox.is_settled(order.batch_id) or workshop.outbox.holds(order.batch_id):
        workshop.journal.end(order.batch_id)
        log.info("Batch %s is made already", order.batch_id)
        return None
    made = None
    starts = workshop.journal.begin(order.batch_id)
    try:
        if starts > MAX_STARTS:
            raise DeadlyOrder(
                f"The process died {MAX_STARTS} times while making this batch on worker "
                f"{workshop.config.worker_name}; its log says how."
            )
        made = _make(workshop, order)
    except EmptyBatch as empty:
        # How little a release yields is worth knowing: orders are made larger by it.
        workshop.reports.failed(order, str(empty), drawn=order.count)
    except REFUSALS as refusal:
        workshop.reports.failed(order, str(refusal))
    except SoftTimeLimitExceeded:
        workshop.reports.failed(order, "The batch took longer than a task may; order fewer images.")
    except Exception as error:
        log.exception("Batch %s failed", order.batch_id)
        workshop.reports.failed(order, f"{type(error).__name__}: {error}")
    workshop.journal.end(order.batch_id)
    return made


def _make(workshop: Workshop, order: GenerateBatch) -> Made:
    release = workshop.engine.release(order.release_digest)
    began = time.monotonic()
    # Not before loading, which may be slow: once begun, the server expects signs of life.
    report = _Reporter(workshop.reports, order)
    report(0.0, "begun")
    own, params = _split(order.params)
    tags = _tags(own)
    curator = Curator(Thresholds.read(own, release.manifest.get("params", {})))
    with workshop.outbox.spool(order.batch_id) as spool:
        for done, seeds in _sub_batches(order):
            part = _Part(done, len(seeds), order.count, report)
            drafts = release.generate(seeds, tags=tags, params=params, progress=part.drafting)
            _keep(release, drafts, curator, spool)
            part.finished()
        if not spool.images:
            raise EmptyBatch(
                f"Curation kept none of {order.count} images ({curator.summary()}). Check the "
                "release's preview, or lower min_score in the pool's parameters."
            )
        spool.publish(_manifest(workshop, order, spool))
    log.info("Batch %s: kept %d; %s", order.batch_id, len(spool.images), curator.summary())
    return Made(len(spool.images), time.monotonic() - began)


def _keep(release: LoadedRelease, drafts: Sequence[Draft], curator: Curator, spool: Spool) -> None:
    images = [draft.image for draft in drafts]
    scores, safety = release.score(images), release.safety(images)
    kept = curator.keep(images, scores, safety)
    if not kept:
        return
    for index, image in zip(kept, release.upscale([images[i] for i in kept]), strict=True):
        spool.add(
            _png(image),
            size=image.size,
            seed=drafts[index].seed,
            score=scores[index],
            safety=safety[index],
            tags=drafts[index].tags,
        )


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.convert("RGB").save(file, "PNG")
    return file.getvalue()


def _manifest(workshop: Workshop, order: GenerateBatch, spool: Spool) -> Manifest:
    return Manifest(
        batch_id=order.batch_id,
        release_digest=order.release_digest,
        worker=workshop.config.worker_name,
        software=software(),
        created=datetime.now(UTC),
        params=order.params,
        images=tuple(spool.images),
    )


def _split(params: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    own = {key: value for key, value in params.items() if key in OWN_PARAMS}
    return own, {key: value for key, value in params.items() if key not in OWN_PARAMS}


def _tags(own: dict[str, Any]) -> list[str]:
    tags = own.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise BadParams(f"params.tags: {tags!r} is not a list of tag names.")
    return tags


def _sub_batches(order: GenerateBatch) -> Iterator[tuple[int, range]]:
    """(images done before, seeds): small parts keep memory flat and progress lively."""
    for done in range(0, order.count, SUB_BATCH):
        last = min(done + SUB_BATCH, order.count)
        yield done, range(order.base_seed + done, order.base_seed + last)


class _Reporter:
    """Sends progress about once a second at most."""

    def __init__(self, reports: Reports, order: GenerateBatch, every: float = 1.0) -> None:
        self._reports = reports
        self._batch_id = order.batch_id
        self._every = every
        self._next = 0.0

    def __call__(self, fraction: float, note: str) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._every
            self._reports.progress(self._batch_id, fraction, note)


@dataclass(frozen=True)
class _Part:
    """One sub-batch's place in the whole."""

    done: int
    size: int
    count: int
    report: Callable[[float, str], None]

    def drafting(self, step: int, of: int) -> None:
        self._tell(DRAFTING * step / max(of, 1), "drawing")

    def finished(self) -> None:
        self._tell(1.0, "drawn")

    def _tell(self, share: float, what: str) -> None:
        reached = self.done + self.size
        fraction = (self.done + share * self.size) / self.count
        self.report(fraction, f"{what} {self.done + 1} to {reached} of {self.count}")
