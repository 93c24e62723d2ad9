"""Carrying out one order: generate, curate, upscale, spool.

Every outcome is final for the broker: the batch is in the outbox, or the server was told why
not. Only a dead process leaves the message to be handed out again.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from celery.exceptions import SoftTimeLimitExceeded
from PIL import Image

from generator_worker import disk
from generator_worker.config import Config, software
from generator_worker.contract import Duty, GenerateBatch, Manifest
from generator_worker.curation import Curator, Thresholds
from generator_worker.drawing import AT_ONCE, Painter
from generator_worker.duty import DutyBook
from generator_worker.engine import Engine
from generator_worker.faulty import FaultyReleases
from generator_worker.journal import MAX_STARTS, Journal
from generator_worker.ledger import Ledger
from generator_worker.outbox import Outbox, Spool
from generator_worker.refusals import (
    BadParams,
    DeadlyOrder,
    EmptyBatch,
    FaultyHere,
    InMaintenance,
    NoRoom,
    Refusal,
    TooLong,
    Unforeseen,
)
from generator_worker.reports import Reports
from generator_worker.signs import Signs

if TYPE_CHECKING:
    from models_core.releases import Draft

log = logging.getLogger(__name__)

DRAFTING = 0.75
"""Share of a sub-batch's time that generation takes; curation and upscaling take the rest."""
OWN_PARAMS = frozenset({"tags", "min_score", "max_unsafe", "min_distance"})
"""What the worker reads from an order's params; the rest is the model's."""
MIB = 2**20


@dataclass(frozen=True)
class Made:
    """A batch that was made and spooled."""

    drawn: int
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
    faulty: FaultyReleases
    duty: DutyBook
    ledger: Ledger


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
    log.info("Begun: %d images for %s, attempt %d", order.count, order.pool, order.attempt)
    try:
        _admit(workshop, order, starts)
        made = _make(workshop, order)
        workshop.faulty.worked(order.release_digest)
    except Refusal as refusal:
        _refuse(workshop, order, refusal)
    except SoftTimeLimitExceeded:
        _refuse(workshop, order, TooLong("It took longer than a task may, with all it needed."))
    except Exception as error:
        log.exception("Batch %s failed", order.batch_id)
        _refuse(workshop, order, Unforeseen(f"{type(error).__name__}: {error}"))
    workshop.journal.end(order.batch_id)
    return made


def _admit(workshop: Workshop, order: GenerateBatch, starts: int) -> None:
    """Refuse at once what could only fail slowly, or kill."""
    config, digest = workshop.config, order.release_digest
    demand_readiness(workshop)
    if starts > MAX_STARTS:
        raise DeadlyOrder(
            f"The process died {MAX_STARTS} times while making this batch on worker "
            f"{config.worker_name}; its log says how."
        )
    if fault := workshop.faulty.fault(digest):
        raise FaultyHere(
            f"Release {digest[:12]}… failed {fault.failures} times in a row on worker "
            f"{config.worker_name}, the last time so: {fault.reason} Once that is mended: "
            f"`python -m generator_worker forgive {digest[:12]}` there."
        )


def demand_readiness(workshop: Workshop) -> None:
    """Whatever is asked of it, this worker can take it on."""
    config = workshop.config
    if workshop.duty.read() == Duty.MAINTENANCE:
        raise InMaintenance(f"Worker {config.worker_name} is in maintenance.")
    if (left := disk.free(config.home)) < config.min_free_mib * MIB:
        raise NoRoom(
            f"Worker {config.worker_name} has {left // MIB} MiB left on the disk of {config.home}, "
            f"and STYLEDIFFUSER_MIN_FREE_MIB asks for {config.min_free_mib}."
        )


def _refuse(workshop: Workshop, order: GenerateBatch, refusal: Refusal) -> None:
    workshop.ledger.failed(refusal.kind)
    if refusal.blames_release and workshop.faulty.failed(order.release_digest, str(refusal)):
        log.error("Release %s is faulty on this worker: %s", order.release_digest, refusal)
    # How little a release yields is worth knowing: orders are made larger by it.
    drawn = order.count if isinstance(refusal, EmptyBatch) else 0
    workshop.reports.failed(order, refusal, drawn)


def _make(workshop: Workshop, order: GenerateBatch) -> Made:
    signs = Signs(partial(workshop.reports.progress, order.batch_id))

    def tell(note: str) -> None:
        signs(0.0, note)

    with signs.kept_up():
        painter = workshop.engine.painter(order.release_digest, tell)
    began = time.monotonic()
    signs(0.0, "begun")
    own, params = _split(order.params)
    tags = _tags(own)
    curator = Curator(Thresholds.read(own, painter.release.manifest.get("params", {})))
    limit = _Limit(workshop.config.batch_seconds)
    with workshop.outbox.spool(order.batch_id) as spool:
        for done, seeds in _sub_batches(order):
            part = _Part(done, len(seeds), order.count, signs, limit)
            drafts = painter.draw(seeds, tags=tags, params=params, progress=part.drafting)
            _keep(painter, drafts, curator, spool)
            part.finished()
        workshop.ledger.judged(curator.scores)
        if not spool.images:
            raise EmptyBatch(
                f"Curation kept none of {order.count} images ({curator.summary()}). Check the "
                "release's preview, or lower min_score in the pool's parameters."
            )
        spool.publish(_manifest(workshop, order, spool))
    made = Made(order.count, len(spool.images), time.monotonic() - began)
    workshop.ledger.made(made.drawn, made.images, made.seconds, curator.dropped)
    log.info("Batch %s: kept %d; %s", order.batch_id, made.images, curator.summary())
    return made


def _keep(painter: Painter, drafts: Sequence[Draft], curator: Curator, spool: Spool) -> None:
    images = [draft.image for draft in drafts]
    scores, safety = painter.score(images), painter.safety(images)
    kept = curator.keep(images, scores, safety)
    if not kept:
        return
    for index, image in zip(kept, painter.upscale([images[i] for i in kept]), strict=True):
        spool.add(
            png(image),
            size=image.size,
            seed=drafts[index].seed,
            score=scores[index],
            safety=safety[index],
            tags=drafts[index].tags,
        )


def png(image: Image.Image) -> bytes:
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
    for done in range(0, order.count, AT_ONCE):
        last = min(done + AT_ONCE, order.count)
        yield done, range(order.base_seed + done, order.base_seed + last)


class _Limit:
    """The longest a batch may be drawn at."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def check(self, fraction: float) -> None:
        if time.monotonic() > self._end:
            raise TooLong(
                f"After {self._seconds:g} s, STYLEDIFFUSER_BATCH_SECONDS, {100 * fraction:.0f} % "
                "was drawn; order fewer images, or allow more."
            )


@dataclass(frozen=True)
class _Part:
    """One sub-batch's place in the whole."""

    done: int
    size: int
    count: int
    signs: Signs
    limit: _Limit

    def drafting(self, share: float) -> None:
        self._tell(DRAFTING * share, "drawing")

    def finished(self) -> None:
        self._tell(1.0, "drawn")

    def _tell(self, share: float, what: str) -> None:
        reached = self.done + self.size
        fraction = (self.done + share * self.size) / self.count
        self.signs(fraction, f"{what} {self.done + 1} to {reached} of {self.count}")
        if fraction < 1:
            self.limit.check(fraction)
