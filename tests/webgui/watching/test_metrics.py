"""What Prometheus gets from the server, read by its own parser; and who else gets it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from tests.webgui.making import deliver, make_batch, make_pool, make_worker, stock
from webgui.buffer import ingest, overdue, replenish
from webgui.buffer.claim import claim
from webgui.buffer.models import Avatar, Pool, Ticket
from webgui.buffer.problems import PoolInTrouble
from webgui.fleet import alarms, samples
from webgui.fleet.models import Alarm, Worker

PREFIX = "stylediffuser_"


def scrape(**headers: str) -> dict[tuple[str, ...], float]:
    """{(name, label values in the order of their names…): value}"""
    answer = Client().get("/metrics", headers=headers)
    assert answer.status_code == 200, answer.content
    found = {}
    for family in text_string_to_metric_families(answer.content.decode()):
        for sample in family.samples:
            labels = [value for _, value in sorted(sample.labels.items())]
            found[sample.name.removeprefix(PREFIX), *labels] = sample.value
    return found


def test_a_batch_from_its_order_to_the_visitors(pool: Pool, worker: Worker, home) -> None:
    claim(client="visitor:a")  # finds nothing
    replenish.replenish()
    Ticket.objects.update(created_at=timezone.now() - timedelta(seconds=3))
    batch, *others = pool.batches.all()
    deliver(batch)
    for _ in range(2):  # twice is the same as once, in numbers too
        ingest.ingest(batch.pk, "w1")
    Avatar.objects.filter(state="claimed").update(claimed_at=timezone.now() - samples.SETTLING)
    samples.take()
    told = scrape()
    expected = {
        ("tickets_total", "toon"): 1,
        ("tickets_settled_total", "served", "toon"): 1,
        ("ticket_wait_seconds_count", "toon"): 1,
        ("ticket_wait_seconds_bucket", "2.5", "toon"): 0,
        ("ticket_wait_seconds_bucket", "5", "toon"): 1,
        ("orders_total", "toon"): 1 + len(others),
        ("orders_open", "toon", "ordered"): len(others),
        ("deliveries_total", "ingested", "toon"): 1,
        ("images_drawn_total", "toon"): batch.count,
        ("images_ingested_total", "toon"): batch.count,
        ("avatar_score_count", "toon"): batch.count,
        ("avatar_score_bucket", "0.85", "toon"): 0,
        ("avatar_score_bucket", "0.9", "toon"): batch.count,
        ("avatar_score_sum", "toon"): pytest.approx(0.9 * batch.count),
        ("ingest_seconds_count", "toon"): 1,
        ("claims_total", "toon"): 1,
        ("pool_available", "toon"): batch.count - 1,
        ("pool_low_watermark", "toon"): 8,
        ("pool_high_watermark", "toon"): 16,
        ("pool_waiting", "toon"): 0,
        ("workers", "working"): 1,
        ("workers", "silent"): 0,
        ("fleet_images_per_minute", "w1"): 60,
    }
    assert {key: told.get(key) for key in expected} == expected
    assert 3 <= told["ticket_wait_seconds_sum", "toon"] < 60
    assert told["image_bytes_total", "toon"] > 1000
    assert abs(told["sample_timestamp_seconds",] - timezone.now().timestamp()) < 60


def test_what_went_wrong_by_reason(pool: Pool, worker: Worker, home) -> None:
    deliver(make_batch(pool, worker="w1"), release_digest="f" * 64)
    ingest.sweep()
    late = make_batch(pool, worker="w1", deadline=timezone.now() - timedelta(seconds=1))
    overdue.mark_overdue()
    for kind in ("too-long", "some-new-word"):
        batch = make_batch(pool, worker="w1", attempt=3)
        message = {"batch_id": batch.pk, "worker": "w1", "attempt": 3, "reason": "x", "kind": kind}
        assert overdue.refused(overdue.BatchFailed(**message))
    with pytest.raises(PoolInTrouble):
        claim(client="visitor:b")
    alarms.check()
    told = scrape()
    assert told["deliveries_total", "quarantined", "toon"] == 1
    for reason in ("not-delivered", "too-long", "other"):
        assert told["order_failures_total", "toon", reason] == 1
    assert told["claims_refused_total", "pool_in_trouble"] >= 1
    assert told["orders_open", "toon", "overdue"] == 1 and late.attempt == 1
    assert told["alarm", "quarantine", ""] == told["alarms_raised_total", "quarantine"] == 1
    assert {key[1] for key in told if key[0] == "alarm"} == set(Alarm.Kind.values)


def test_a_broker_that_is_away_is_told_of_and_holds_nothing_up(pool: Pool, settings) -> None:
    settings.BROKER_URL = "redis://127.0.0.1:1/0"
    told = scrape()
    assert told["broker_up",] == 0
    assert [key for key in told if key[0] == "queue_messages"] == []


def test_a_scrape_never_looks_at_the_avatars_and_asks_little(worker: Worker) -> None:
    """However many there are: their number comes from the clock's sample."""
    for number in range(5):
        stock(make_pool(f"pool-{number}"), 20)
        make_worker(f"worker-{number}")
    samples.take()
    with CaptureQueriesContext(
        connection,
    ) as asked:
        told = scrape()
    assert told["pool_available", "pool-3"] == 20
    assert [query["sql"] for query in asked if "buffer_avatar" in query["sql"]] == []
    assert len(asked) < 20


class TestWhoMayRead:
    @pytest.fixture(autouse=True)
    def rows(self, db) -> None: ...

    def get(self, address: str = "127.0.0.1", **headers: str) -> int:
        answer = Client(REMOTE_ADDR=address).get("/metrics", headers=headers)
        if answer.status_code != 200:
            assert answer["Content-Type"] == "application/problem+json"
            assert "stylediffuser_" not in answer.content.decode()
        assert "no-store" in answer["Cache-Control"]
        return answer.status_code

    def test_without_a_token_this_host_alone(self) -> None:
        assert [self.get(), self.get("::1"), self.get("192.0.2.7")] == [200, 200, 403]

    def test_a_proxy_on_this_host_does_not_open_it_to_everybody(self) -> None:
        for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP"):
            assert self.get(**{name: "127.0.0.1"}) == 403

    def test_with_a_token_who_has_it_from_anywhere(self, settings) -> None:
        settings.METRICS_TOKEN = "let-me-see"  # noqa: S105
        assert self.get("192.0.2.7", Authorization="Bearer let-me-see") == 200
        for wrong in ("Bearer let-me-se", "let-me-see", "Bearer lét-me-see", ""):
            assert self.get(Authorization=wrong) == 403

    def test_it_is_only_read(self) -> None:
        assert Client().post("/metrics").status_code == 405
