"""Who has which orders in hand, and the messages about them. The rows are the truth: what does
not get through, the reconciler sends again."""

from __future__ import annotations

import logging
from uuid import UUID

from generator_worker.contract import (
    BATCH_RECEIVED,
    GENERATE_BATCH,
    BatchReceipt,
    GenerateBatch,
    worker_queue,
)
from messaging.logs import bound
from webgui.fleet import doorbell
from webgui.fleet.dispatch import Fleet

from .models import Batch

log = logging.getLogger(__name__)


def muster() -> Fleet:
    """Who can take orders, with what each has in hand already."""
    fleet = Fleet.now()
    under_way = Batch.objects.filter(state=Batch.State.ORDERED)
    for name, digest, count, fraction in under_way.values_list(
        "worker", "release__digest", "count", "fraction"
    ):
        fleet.burden(name, digest, count * (1 - fraction))
    return fleet


def send_order(batch: Batch) -> bool:
    """To the queue of the worker it was given to."""
    message = GenerateBatch(
        batch_id=batch.pk,
        attempt=batch.attempt,
        pool=batch.pool.slug,
        release_digest=batch.release.digest,
        count=batch.count,
        base_seed=batch.base_seed,
        params=batch.params,
    )
    with bound(batch=batch.pk, worker=batch.worker, request=batch.request):
        log.info("Ordered: %d images for %s, attempt %d", batch.count, message.pool, batch.attempt)
        return doorbell.ring(GENERATE_BATCH, message, worker_queue(batch.worker))


def send_receipt(batch_id: UUID, worker: str) -> bool:
    return doorbell.ring(BATCH_RECEIVED, BatchReceipt(batch_id=batch_id), worker_queue(worker))
