"""What Prometheus may scrape from a worker, where METRICS_PORT is set.

The main process answers, from the same figures as the heartbeat and from the child's ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from generator_worker.contract import Duty, Heartbeat, State
from generator_worker.ledger import SCORE_BUCKETS, Counts, Ledger

PREFIX = "stylediffuser_worker_"


def serve(host: str, port: int, beat: Callable[[], Heartbeat], ledger: Ledger) -> None:
    """Answer from a thread for as long as this process lives. OSError where the port is taken."""
    registry = CollectorRegistry()
    registry.register(WorkerCollector(beat, ledger))
    start_http_server(port, host, registry)


class WorkerCollector(Collector):
    def __init__(self, beat: Callable[[], Heartbeat], ledger: Ledger) -> None:
        self._beat = beat
        self._ledger = ledger

    def describe(self) -> list[Metric]:
        return []  # asked at registration, when there is nothing to tell yet

    def collect(self) -> Iterator[Metric]:
        beat, counts = self._beat(), self._ledger.read()
        about = {"worker": beat.worker, "software": beat.software, "device": beat.device}
        yield InfoMetricFamily(f"{PREFIX[:-1]}", "Which worker this is.", about)
        yield from _counters(counts)
        yield _scores(counts)
        yield from _gauges(beat)


def _counters(counts: Counts) -> Iterator[Metric]:
    for name, about, value in (
        ("batches", "Batches made.", counts.batches),
        ("drawn", "Images drawn.", counts.drawn),
        ("images", "Images kept by curation and spooled.", counts.images),
        ("drawing_seconds", "Time spent on batches, loading aside.", counts.seconds),
        ("fetched_bytes", "Bytes of releases that came over SFTP.", counts.fetched_bytes),
        ("deliveries", "Batches and jobs brought to the server.", counts.deliveries),
        ("delivered_bytes", "Bytes of their images.", counts.delivered_bytes),
        ("delivery_seconds", "Time spent on bringing them.", counts.delivery_seconds),
        ("delivery_failures", "Tries that did not reach the server.", counts.delivery_failures),
    ):
        yield CounterMetricFamily(PREFIX + name, about, value)
    for told, said, label, by in (
        ("failures", "Orders not carried out, by kind of reason.", "kind", counts.failures),
        ("dropped", "Images drawn and not kept, by reason.", "reason", counts.dropped),
        ("jobs", "Jobs done, by kind.", "kind", counts.jobs),
    ):
        family = CounterMetricFamily(PREFIX + told, said, labels=[label])
        for reason, times in by.items():
            family.add_metric([reason], times)
        yield family


def _scores(counts: Counts) -> Metric:
    total, buckets = 0, []
    for edge, times in zip(SCORE_BUCKETS, counts.scores, strict=True):
        total += times
        buckets.append((f"{edge:g}", float(total)))
    buckets.append(("+Inf", float(total)))
    about = "The critic's scores of all images drawn."
    return HistogramMetricFamily(f"{PREFIX}score", about, buckets, counts.score_sum)


def _gauges(beat: Heartbeat) -> Iterator[Metric]:
    for name, about, value in (
        ("outbox_batches", "Batches made and not yet receipted.", beat.outbox),
        ("resident_bytes", "Memory of both processes.", beat.resident_bytes),
        ("device_memory_bytes", "Memory of the GPU, or of the host.", beat.memory_bytes),
        ("gpu_use_ratio", "How busy the GPU is.", beat.gpu_use),
        ("gpu_memory_used_bytes", "Of the GPU, by all programs.", beat.gpu_memory_used_bytes),
        ("disk_free_bytes", "Where the outbox lies.", beat.disk_free_bytes),
        ("loaded_releases", "Releases in memory.", len(beat.loaded)),
        ("faulty_releases", "Releases refused here.", len(beat.faulty)),
        ("start_time_seconds", "When it started.", _stamp(beat.started)),
    ):
        if value is not None:
            yield GaugeMetricFamily(PREFIX + name, about, value)
    for name, chosen, known in (("state", beat.state, State), ("duty", beat.duty, Duty)):
        family = GaugeMetricFamily(PREFIX + name, f"1 at the present {name}.", labels=[name])
        for each in known:
            family.add_metric([each.value], float(each == chosen))
        yield family
    speeds = GaugeMetricFamily(
        f"{PREFIX}images_per_second", "Drawn, in the last batch of it.", labels=["release"]
    )
    for digest, speed in beat.speeds.items():
        speeds.add_metric([digest], speed)
    yield speeds


def _stamp(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None
