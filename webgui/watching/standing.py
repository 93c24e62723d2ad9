"""How things stand at this moment, as far as the database tells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Min, QuerySet
from django.utils import timezone

from webgui.buffer.models import Batch, Pool, Ticket
from webgui.fleet.models import Alarm, Sample, Worker
from webgui.registry.models import Checkpoint
from webgui.studio.models import Job

OPEN_ORDERS = (*Batch.UNDER_WAY, Batch.State.OVERDUE)
WORKER_STATES = (Worker.SILENT, Worker.REFUSING, *(duty for duty, _ in Worker.DUTIES))


@dataclass(frozen=True)
class Gauge:
    name: str
    about: str
    values: Sequence[tuple[tuple[Any, ...], float]]
    """((the labels' values), number)"""
    labels: tuple[str, ...] = ()


def gauges() -> Iterator[Gauge]:
    yield from _pools()
    yield from _line()
    yield from _orders()
    yield from _workers()
    yield from _jobs()
    yield from _alarms()


def _pools() -> Iterator[Gauge]:
    """As the clock saw them last: counting them anew would cost more the fuller they are."""
    last = Sample.objects.order_by("-at").first()
    seen = last.pools if last else {}
    for name, key, about in (
        ("pool_available", "available", "Avatars in the buffer."),
        ("pool_low_watermark", "low", "Below it the pool is low; 0 where nothing is ordered."),
        ("pool_waiting", "waiting", "Claims in line."),
    ):
        yield Gauge(name, about, [((slug,), pool[key]) for slug, pool in seen.items()], ("pool",))
    stamp = [((), last.at.timestamp())] if last else []
    yield Gauge("sample_timestamp_seconds", "When the clock last looked.", stamp)
    pools = list(Pool.objects.only("slug", "high_watermark", "paused", "failures"))
    for name, field, about in (
        ("pool_high_watermark", "high_watermark", "Up to here it is filled."),
        ("pool_paused", "paused", "1 while nothing new is ordered for it."),
        ("pool_failures", "failures", "Orders that failed in a row."),
    ):
        values = [((pool.slug,), float(getattr(pool, field))) for pool in pools]
        yield Gauge(name, about, values, ("pool",))


def _line() -> Iterator[Gauge]:
    waiting = Ticket.objects.filter(state=Ticket.State.WAITING).order_by().values("pool__slug")
    ages = [
        ((row["pool__slug"],), _age(row["since"]))
        for row in waiting.annotate(since=Min("created_at"))
    ]
    yield Gauge("oldest_ticket_age_seconds", "Of the first in line.", ages, ("pool",))


def _orders() -> Iterator[Gauge]:
    open_ones = Batch.objects.filter(state__in=OPEN_ORDERS)
    by_state = [
        ((row["pool__slug"], row["state"]), row["many"])
        for row in open_ones.order_by().values("pool__slug", "state").annotate(many=Count("pk"))
    ]
    yield Gauge("orders_open", "Batches that are not settled.", by_state, ("pool", "state"))
    yield Gauge("oldest_order_age_seconds", "Of these.", _oldest(open_ones, "ordered_at"))


def _workers() -> Iterator[Gauge]:
    workers = list(Worker.objects.all())
    by_state = dict.fromkeys(WORKER_STATES, 0)
    for worker in workers:
        by_state[worker.state] += 1
    yield Gauge("workers", "By state.", [((k,), v) for k, v in by_state.items()], ("state",))
    for name, about, of in (
        ("last_seen_timestamp_seconds", "Its last heartbeat.", _last_seen),
        ("images_per_minute", "Of its last batch.", lambda worker: worker.images_per_minute),
        ("outbox_batches", "Not receipted.", lambda worker: worker.outbox),
        ("faults", "Orders it failed in a row.", lambda worker: worker.faults),
        ("clock_ahead_seconds", "Of this server's.", lambda worker: worker.clock_ahead),
        ("gpu_use_ratio", "How busy it is.", lambda worker: worker.report.get("gpu_use")),
        ("disk_free_bytes", "Its own.", lambda worker: worker.report.get("disk_free_bytes")),
    ):
        told = [((worker.name,), of(worker)) for worker in workers]
        known = [(labels, value) for labels, value in told if value is not None]
        yield Gauge(f"fleet_{name}", f"A worker: {about}", known, ("worker",))


def _last_seen(worker: Worker) -> float:
    return worker.last_seen.timestamp()


def _jobs() -> Iterator[Gauge]:
    open_ones = Job.objects.filter(state__in=Job.OPEN)
    by_state = [
        ((row["kind"], row["state"]), row["many"])
        for row in open_ones.order_by().values("kind", "state").annotate(many=Count("pk"))
    ]
    yield Gauge("jobs_open", "Jobs that are not over.", by_state, ("kind", "state"))
    yield Gauge("oldest_job_age_seconds", "Of these.", _oldest(open_ones, "created_at"))
    states = dict(Checkpoint.objects.order_by().values_list("state").annotate(Count("pk")))
    counts = [((state,), states.get(state, 0)) for state in Checkpoint.State.values]
    yield Gauge("checkpoints", "By state.", counts, ("state",))


def _alarms() -> Iterator[Gauge]:
    """Every kind is told of: an alarm that was never raised is no missing series."""
    raised = list(Alarm.objects.filter(cleared_at=None).values_list("kind", "subject"))
    quiet = set(Alarm.Kind.values) - {kind for kind, _ in raised}
    values = [(alarm, 1.0) for alarm in raised] + [((kind, ""), 0.0) for kind in sorted(quiet)]
    yield Gauge("alarm", "1 while it is raised.", values, ("kind", "subject"))


def _oldest(rows: QuerySet[Any], field: str) -> list[tuple[tuple[()], float]]:
    """0 where there is none."""
    return [((), _age(rows.aggregate(since=Min(field))["since"]))]


def _age(since: datetime | None) -> float:
    return max(0.0, (timezone.now() - since).total_seconds()) if since else 0.0
