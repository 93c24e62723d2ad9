"""Taking in a delivered batch: all of it or none of it, and twice is the same as once.

    inbox/new/<batch>/ ─> checked, re-encoded, staged ─> media ─> one transaction
             │                                                         └─> removed ─> receipt
             └─> quarantine, with a reason ─> receipt

Killed anywhere, the next sweep does it again: up to the commit nothing counts (files in media
without a row are overwritten by the same bytes, or pruned), after it the batch is known as
ingested and only the cleaning up is repeated.
"""

from __future__ import annotations

import logging
import time
from enum import StrEnum
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from generator_worker.contract import JOB_FOLDER, Manifest
from messaging.logs import bound
from webgui.fleet import duty
from webgui.fleet.hearsay import clean
from webgui.watching import tallies

from . import canary, inbox, likeness, orders, stock, tickets, trouble
from .models import Avatar, Batch, Pool
from .pictures import Picture, Staging, reencode

# Heartbeats and progress wait behind a sweep; what is left, the next one takes.
BATCHES_PER_SWEEP = 20
log = logging.getLogger(__name__)


class Outcome(StrEnum):
    INGESTED = "ingested"
    QUARANTINED = "quarantined"
    KNOWN = "known"  # settled before: only cleaned up
    ABSENT = "absent"  # nothing there to take in
    BUSY = "busy"  # another process is at it


def ingest(batch_id: UUID, worker: str = "") -> Outcome:
    """Take in `inbox/new/<batch_id>`. `worker` is who is said to have sent it.

    OSError and database errors (a full disk, say) pass through: nothing is half-done then, and
    the sweep tries again.
    """
    request = Batch.objects.filter(pk=batch_id).values_list("request", flat=True).first()
    with bound(batch=batch_id, worker=worker, request=request):
        outcome = _take_in(batch_id, worker)
        log.info("The delivery is %s", outcome)
    return outcome


def _take_in(batch_id: UUID, worker: str) -> Outcome:
    try:
        with inbox.open_delivery(batch_id) as delivery:
            return _settle(delivery, worker)
    except inbox.Busy:
        return Outcome.BUSY
    except inbox.Refused as refusal:  # no folder at all
        return _quarantine(batch_id, worker, str(refusal))
    except inbox.Vanished:
        settled = Batch.objects.filter(pk=batch_id, state__in=Batch.SETTLED).first()
        if settled is None:
            return Outcome.ABSENT
        _answer(batch_id, worker or settled.worker)  # its first receipt was lost
        return Outcome.KNOWN


def sweep() -> dict[Outcome, int]:
    """Take in what lies in the inbox, message or not, the oldest first and not too many.

    What jobs brought is `studio.deliveries` to take in.
    """
    seen: dict[Outcome, int] = {}
    for name in inbox.waiting_names():
        if name.startswith(JOB_FOLDER):
            continue
        try:
            outcome = _sweep_one(name)
        except Exception:
            log.exception("Delivery %s could not be taken in; the next sweep tries again", name)
            continue
        seen[outcome] = seen.get(outcome, 0) + 1
        # Those that failed do not count: they must not keep the others out for ever.
        if sum(seen.values()) >= BATCHES_PER_SWEEP:
            break
    return seen


def _sweep_one(name: str) -> Outcome:
    try:
        batch_id = UUID(name)
    except ValueError:
        batch_id = None
    if batch_id is not None and str(batch_id) == name:
        return ingest(batch_id)
    inbox.quarantine(name, "Not a batch: its name is no batch id.")
    log.warning("Quarantined %r: its name is no batch id", name)
    return Outcome.QUARANTINED


def _settle(delivery: inbox.Delivery, worker: str) -> Outcome:
    batch_id = UUID(delivery.name)
    batch = Batch.objects.select_related("pool__release", "release").filter(pk=batch_id).first()
    if batch is not None and batch.state in Batch.SETTLED:
        if batch.state == Batch.State.QUARANTINED:
            inbox.quarantine(str(batch_id), batch.reason)
        inbox.remove(batch_id)
        _answer(batch_id, worker or batch.worker)
        return Outcome.KNOWN
    began = time.monotonic()
    ordered_from = batch.worker if batch is not None else ""
    try:
        manifest = delivery.read_manifest(Manifest)
        worker = manifest.worker
        batch = _check_order(batch, manifest)
        _note_delivery(batch, worker)
        delivery.check_names(manifest)
        with Staging(batch_id) as staging:
            pictures = [
                staging.add(listed, *reencode(delivery.read_image(listed), listed))
                for listed in manifest.images
            ]
            staging.publish(pictures)
            _commit(batch, pictures, began)
    except inbox.Refused as refusal:
        return _quarantine(batch_id, worker, str(refusal), ordered_from)
    inbox.remove(batch_id)
    _answer(batch_id, worker)
    return Outcome.INGESTED


def _check_order(batch: Batch | None, manifest: Manifest) -> Batch:
    if batch is None:
        raise inbox.Refused(f"Batch {manifest.batch_id} was never ordered here.")
    if manifest.release_digest != batch.release.digest:
        raise inbox.Refused(
            f"Made with release {manifest.release_digest[:12]}…; "
            f"ordered was {batch.release.digest[:12]}…."
        )
    if len(manifest.images) > batch.count:
        raise inbox.Refused(f"{len(manifest.images)} images; {batch.count} were ordered.")
    unknown = {tag for image in manifest.images for tag in image.tags} - set(batch.release.tags)
    if unknown:
        raise inbox.Refused(f"Tags the release does not have: {', '.join(sorted(unknown)[:3])}.")
    return batch


def _note_delivery(batch: Batch, worker: str) -> None:
    unsettled = Batch.objects.filter(pk=batch.pk).exclude(state__in=Batch.SETTLED)
    unsettled.update(state=Batch.State.DELIVERED, worker=worker, fraction=1)


def _commit(batch: Batch, pictures: list[Picture], began: float) -> None:
    """All rows of the batch, and the tickets they serve, in one transaction."""
    for last_try in (False, True):
        try:
            with transaction.atomic():
                return _write_rows(batch, pictures, began)
        except IntegrityError:
            # Another pool's batch brought the same picture this very moment.
            if last_try:
                raise


def _write_rows(batch: Batch, pictures: list[Picture], began: float) -> None:
    pool = Pool.objects.select_for_update(no_key=True, of=("self",)).get(pk=batch.pool_id)
    fresh = _unseen(pool, batch, pictures)
    avatars = {_avatar(batch, picture): picture.look for picture in fresh}
    changed = Batch.objects.filter(pk=batch.pk, state=Batch.State.DELIVERED).update(
        state=Batch.State.INGESTED,
        settled_at=timezone.now(),
        drawn=batch.count,
        ingested_count=len(avatars),
    )
    if not changed:
        return  # another process was quicker; its rows are these rows
    stock.shelve(pool, avatars, _fate(batch))
    duty.note_success(batch.worker)
    likeness.remember(pool, avatars)
    tickets.serve(pool)
    _count(pool, batch, list(avatars), time.monotonic() - began)
    if not avatars and not batch.params:
        trouble.blame(batch, f"Batch {batch.pk} brought no new image.")
    elif avatars and batch.release_id == pool.release_id:
        trouble.clear_trouble(pool)
    elif avatars and batch.release_id == pool.canary_id:
        canary.clear_failures(pool)


def _count(pool: Pool, batch: Batch, avatars: list[Avatar], seconds: float) -> None:
    slug = {"pool": pool.slug}
    tallies.add(
        ("deliveries", {**slug, "outcome": Outcome.INGESTED.value}, 1),
        ("images_drawn", slug, batch.count),
        ("images_ingested", slug, len(avatars)),
        ("image_bytes", slug, sum(avatar.bytes for avatar in avatars)),
        *tallies.seen("ingest_seconds", [seconds], **slug),
        *tallies.seen("avatar_score", (avatar.score for avatar in avatars), **slug),
    )


def _fate(batch: Batch) -> str:
    """As it is now that the pool is locked: its administrators may have decided meanwhile."""
    return Batch.objects.values_list("old_stock", flat=True).get(pk=batch.pk)


def _unseen(pool: Pool, batch: Batch, pictures: list[Picture]) -> list[Picture]:
    """Neither known already nor much like one that is. Files of the others are pruned some day."""
    by_digest = {picture.digest: picture for picture in pictures}
    known = set(Avatar.objects.filter(digest__in=by_digest).values_list("digest", flat=True))
    new = [picture for digest, picture in by_digest.items() if digest not in known]
    distance = likeness.distance_of(batch.release.manifest.get("params", {}))
    fresh = likeness.unlike(pool, new, distance)
    if double := len(pictures) - len(fresh):
        log.info("%d of %d images the pool has had before", double, len(pictures))
    return fresh


def _avatar(batch: Batch, picture: Picture) -> Avatar:
    listed = picture.listed
    return Avatar(
        pool_id=batch.pool_id,
        release_id=batch.release_id,
        batch=batch,
        digest=picture.digest,
        bytes=picture.bytes,
        width=listed.width,
        height=listed.height,
        seed=listed.seed,
        score=listed.score,
        safety=listed.safety,
        tags=list(dict.fromkeys(listed.tags)),
    )


def _quarantine(batch_id: UUID, worker: str, reason: str, ordered_from: str = "") -> Outcome:
    """Out of the inbox whole, the reason on the batch's row; another batch will be ordered.

    It counts against the worker that had the order: the manifest could name any.
    """
    reason = clean(reason)
    log.warning("Batch %s quarantined: %s", batch_id, reason)
    batch = Batch.objects.select_related("pool").filter(pk=batch_id).first()
    if batch is not None:
        worker = worker or batch.worker
        changed = (
            Batch.objects.filter(pk=batch_id)
            .exclude(state__in=Batch.SETTLED)
            .update(
                state=Batch.State.QUARANTINED,
                reason=reason,
                worker=worker,
                settled_at=timezone.now(),
            )
        )
        if changed:
            slug, outcome = batch.pool.slug, Outcome.QUARANTINED.value
            tallies.count("deliveries", pool=slug, outcome=outcome)
            note = f"Batch {batch_id} quarantined: {reason}"
            trouble.blame(batch, note, forgiven=1)
            duty.note_fault(ordered_from or batch.worker or worker, note)
    inbox.quarantine(str(batch_id), reason)
    _answer(batch_id, worker)
    return Outcome.QUARANTINED


def _answer(batch_id: UUID, worker: str) -> None:
    if worker:
        orders.send_receipt(batch_id, worker)
