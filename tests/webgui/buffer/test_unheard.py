"""Messages that got lost between server and worker are sent again as soon as that shows."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from tests.webgui.making import make_batch, make_worker
from webgui.buffer.models import Batch, Pool
from webgui.buffer.overdue import reconcile
from webgui.buffer.unheard import ring_again
from webgui.fleet.models import Worker


def ago(seconds: float) -> timezone.datetime:
    return timezone.now() - timedelta(seconds=seconds)


@pytest.mark.parametrize("activity", ["idle", "drained"])
@pytest.mark.parametrize("begun", [{}, {"progress_at": 15, "fraction": 0.4}])
def test_an_idle_worker_is_rung_for_again(
    pool: Pool, sent: list, activity: str, begun: dict
) -> None:
    make_worker(activity=activity)
    if begun:
        begun = begun | {"progress_at": ago(begun["progress_at"])}
    batch = make_batch(pool, worker="w1", rung_at=ago(20), **begun)
    assert reconcile() == 0
    (message,) = [message for _, message, queue in sent if queue == "worker.w1"]
    assert (message["batch_id"], message["attempt"]) == (str(batch.pk), 1)
    after = Batch.objects.get(pk=batch.pk)
    assert (after.state, after.attempt) == (Batch.State.ORDERED, 1)
    assert after.deadline == batch.deadline
    assert Worker.objects.get().faults == 0
    assert ring_again() == 0  # until its next heartbeat says so again


@pytest.mark.parametrize(
    ("worker", "batch"),
    [
        ({"activity": "busy"}, {"rung_at": 20}),
        ({"activity": "starting"}, {"rung_at": 20}),
        ({"activity": ""}, {"rung_at": 20}),
        ({"activity": "idle", "last_seen": 15}, {"rung_at": 20}),
        ({"activity": "idle", "last_seen": 31}, {"rung_at": 60}),
        ({"activity": "idle"}, {"rung_at": 5}),
        ({"activity": "idle"}, {"rung_at": 20, "progress_at": 5}),
        ({"activity": "idle"}, {"rung_at": 20, "fraction": 1}),
        ({"activity": "idle"}, {"rung_at": 20, "worker": "w2"}),
        ({"activity": "idle"}, {"rung_at": 20, "state": Batch.State.DELIVERED}),
    ],
    ids=[
        "at something", "starting", "does not say", "said so too early", "silent",
        "on its way", "told of just now", "drawn already", "another's", "delivered",
    ],
)  # fmt: skip
def test_nobody_is_rung_for_without_need(pool: Pool, sent: list, worker: dict, batch: dict) -> None:
    for fields in (worker, batch):
        for name in {"last_seen", "rung_at", "progress_at"} & set(fields):
            fields[name] = ago(fields[name])
    make_worker(**worker)
    make_batch(pool, **({"worker": "w1"} | batch))
    assert (ring_again(), sent) == (0, [])


def test_a_busy_worker_that_has_begun_a_later_order_has_not_heard_of_this(
    pool: Pool, sent: list
) -> None:
    make_worker(activity="busy")
    lost = make_batch(pool, worker="w1", rung_at=ago(20))
    # An older one that was rung for again may be at the head of the queue.
    make_batch(pool, worker="w1", ordered_at=ago(60), rung_at=ago(14), progress_at=ago(1))
    assert ring_again() == 0
    later = make_batch(pool, worker="w1", ordered_at=ago(15), rung_at=ago(15), progress_at=ago(1))
    make_batch(pool, worker="w2", rung_at=ago(30))
    assert ring_again() == 1
    assert [message["batch_id"] for _, message, _ in sent] == [str(lost.pk)]
    assert ring_again() == 0  # now the other one is the earlier
    Batch.objects.filter(pk=later.pk).update(state=Batch.State.INGESTED, settled_at=timezone.now())
    Batch.objects.filter(pk=lost.pk).update(rung_at=ago(16))
    assert ring_again() == 1  # its end says so as well
