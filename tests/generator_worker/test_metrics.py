"""What Prometheus gets, read by its own parser."""

from __future__ import annotations

import urllib.request
from datetime import UTC, datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families

from generator_worker import metrics
from generator_worker.contract import Duty, Heartbeat, State
from generator_worker.ledger import Ledger
from webgui.demo.ground import free_port

DIGEST = "a" * 64


@pytest.fixture
def scraped(tmp_path):
    ledger = Ledger(tmp_path / "ledger.json")
    ledger.made(10, 7, 2.5, {"unsafe": 3})
    ledger.judged([0.2, 0.71, 0.9])
    ledger.failed("too-long")
    ledger.fetched(4096)
    ledger.did("preview")
    ledger.delivered(2048, 0.5)
    ledger.delivery_failed()
    beat = Heartbeat(
        worker="painter",
        software="stylediffuser 1",
        device="NVIDIA L4",
        memory_bytes=24 * 2**30,
        outbox=2,
        speeds={DIGEST: 1.5},
        state=State.BUSY,
        duty=Duty.DRAINING,
        resident_bytes=2**30,
        gpu_use=0.5,
        disk_free_bytes=2**40,
        started=datetime(2026, 1, 1, tzinfo=UTC),
    )
    port = free_port()
    metrics.serve("127.0.0.1", port, lambda: beat, ledger)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text = answer.read().decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            found[sample.name.removeprefix(metrics.PREFIX), labels] = sample.value
    return found


def test_counters_histogram_and_gauges(scraped):
    plain = {name: value for (name, labels), value in scraped.items() if not labels}
    assert plain == {
        "batches_total": 1,
        "drawn_total": 10,
        "images_total": 7,
        "drawing_seconds_total": 2.5,
        "fetched_bytes_total": 4096,
        "deliveries_total": 1,
        "delivered_bytes_total": 2048,
        "delivery_seconds_total": 0.5,
        "delivery_failures_total": 1,
        "score_count": 3,
        "score_sum": pytest.approx(1.81),
        "outbox_batches": 2,
        "resident_bytes": 2**30,
        "device_memory_bytes": 24 * 2**30,
        "gpu_use_ratio": 0.5,
        "disk_free_bytes": 2**40,
        "loaded_releases": 0,
        "faulty_releases": 0,
        "start_time_seconds": 1767225600,
    }
    assert scraped["failures_total", (("kind", "too-long"),)] == 1
    assert scraped["dropped_total", (("reason", "unsafe"),)] == 3
    assert scraped["jobs_total", (("kind", "preview"),)] == 1
    assert scraped["images_per_second", (("release", DIGEST),)] == 1.5
    buckets = {dict(labels)["le"]: n for (name, labels), n in scraped.items() if "bucket" in name}
    assert (buckets["0.2"], buckets["0.7"], buckets["0.75"], buckets["+Inf"]) == (1, 1, 2, 3)


def test_state_and_duty_are_one_of_several(scraped):
    assert scraped["state", (("state", "busy"),)] == 1
    assert sum(value for (name, _), value in scraped.items() if name == "state") == 1
    assert scraped["duty", (("duty", "draining"),)] == 1
    about = next(labels for (name, labels) in scraped if name == "info")
    assert dict(about)["worker"] == "painter"
