"""What Prometheus is told: tallies, and how things stand at this moment.

Nothing here looks at the avatars' table: how full the pools are is read from the clock's last
sample, so that a scrape costs the same however many images there are.
"""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Iterator

import redis
from django.conf import settings
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from generator_worker.contract import INGEST_QUEUE, SERVER_QUEUE, live_queue, worker_queue
from webgui.fleet.models import Worker

from . import standing, tallies
from .models import Tally

PREFIX = "stylediffuser_"
BROKER_SECONDS = 2
Rows = list[tuple[dict[str, str], float]]


class ServerCollector(Collector):
    def describe(self) -> list[Metric]:
        return []  # asked at registration, when there is nothing to tell yet

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily(PREFIX[:-1], "This server.", {"version": settings.VERSION})
        yield from _counted()
        for gauge in (*standing.gauges(), *_disks(), *_queues()):
            yield _gauge(gauge)


def _gauge(gauge: standing.Gauge) -> Metric:
    family = GaugeMetricFamily(PREFIX + gauge.name, gauge.about, labels=gauge.labels)
    for labels, value in gauge.values:
        family.add_metric([str(label) for label in labels], float(value))
    return family


def _counted() -> Iterator[Metric]:
    tallies.write_held()
    rows: dict[str, Rows] = defaultdict(list)
    for name, labels, value in Tally.objects.values_list("name", "labels", "value"):
        rows[name].append((json.loads(labels), value))
    for name, kind in tallies.KINDS.items():
        yield _histogram(name, kind, rows[name]) if kind.edges else _counter(name, kind, rows[name])


def _counter(name: str, kind: tallies.Kind, rows: Rows) -> Metric:
    family = CounterMetricFamily(PREFIX + name, kind.about, labels=kind.labels)
    for labels, value in rows:
        family.add_metric([labels.get(label, "") for label in kind.labels], value)
    return family


def _histogram(name: str, kind: tallies.Kind, rows: Rows) -> Metric:
    family = HistogramMetricFamily(PREFIX + name, kind.about, labels=kind.labels)
    parts: dict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    for labels, value in rows:
        parts[tuple(labels.get(label, "") for label in kind.labels)][labels["le"]] = value
    for group, found in parts.items():
        total, buckets = 0.0, []
        for edge in (*(f"{edge:g}" for edge in kind.edges), "+Inf"):
            total += found.get(edge, 0)
            buckets.append((edge, total))
        family.add_metric(list(group), buckets, found.get("sum", 0.0))
    return family


def _disks() -> Iterator[standing.Gauge]:
    """Of the host that answers."""
    places = {"home": settings.HOME, "media": settings.MEDIA_ROOT, "sftp": settings.SFTP_ROOT}
    free = [
        ((name,), shutil.disk_usage(place).free) for name, place in places.items() if place.exists()
    ]
    yield standing.Gauge("disk_free_bytes", "Left where it lies.", free, ("place",))


def _queues() -> Iterator[standing.Gauge]:
    """Messages that wait at the broker; nothing of them where it does not answer."""
    names = [SERVER_QUEUE, INGEST_QUEUE]
    for worker in Worker.objects.values_list("name", flat=True):
        names += [live_queue(worker), worker_queue(worker)]
    try:
        lengths = _lengths(names)
    except redis.RedisError:
        lengths = None
    up = [((), float(lengths is not None))]
    yield standing.Gauge("broker_up", "1 where the broker answers.", up)
    waiting = [((name,), length) for name, length in zip(names, lengths or (), strict=False)]
    yield standing.Gauge("queue_messages", "Waiting to be read.", waiting, ("queue",))


def _lengths(names: list[str]) -> list[int]:
    broker = redis.Redis.from_url(
        settings.BROKER_URL, socket_timeout=BROKER_SECONDS, socket_connect_timeout=BROKER_SECONDS
    )
    with broker, broker.pipeline(transaction=False) as pipeline:
        for name in names:
            pipeline.llen(name)
        return [int(length) for length in pipeline.execute()]
