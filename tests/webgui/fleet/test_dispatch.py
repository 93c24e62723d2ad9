"""Who gets the next piece of work, and how large it is."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import pytest
from django.utils import timezone

from generator_worker.contract import Duty
from tests.webgui.making import make_worker
from webgui.fleet import dispatch
from webgui.fleet.dispatch import Fleet, size, worker_for_job
from webgui.fleet.models import Worker

TOON, PIXEL = "a" * 64, "b" * 64
FAULTY = [{"release_digest": TOON, "reason": "broken", "failures": 3, "since": "2026-01-01T00:00Z"}]

pytestmark = pytest.mark.django_db


def chosen(digest: str = TOON, **options: object) -> str | None:
    worker = Fleet.now().choose(digest, **options)
    return worker.name if worker else None


class TestChoice:
    def test_the_quickest_of_the_idle(self) -> None:
        make_worker("slow", speeds={TOON: 0.5}, loaded=[TOON])
        make_worker("fast", speeds={TOON: 5}, loaded=[TOON])
        assert chosen() == "fast"

    def test_an_idle_slow_one_before_a_fast_one_that_is_long_busy(self) -> None:
        make_worker("slow", speeds={TOON: 0.5}, loaded=[TOON])
        make_worker("fast", speeds={TOON: 5}, loaded=[TOON])
        fleet = Fleet.now()
        fleet.burden("fast", TOON, 175)
        picked = fleet.choose(TOON)
        assert picked is not None and picked.name == "slow"

    def test_a_large_order_goes_where_it_is_done_first(self) -> None:
        make_worker("slow", speeds={TOON: 0.5}, loaded=[TOON])
        make_worker("fast", speeds={TOON: 5}, loaded=[TOON])
        fleet = Fleet.now()
        fleet.burden("fast", TOON, 175)
        picked = fleet.choose(TOON, images=100)
        assert picked is not None and picked.name == "fast"

    def test_whoever_has_the_release_in_memory(self) -> None:
        make_worker("a", loaded=[PIXEL])
        make_worker("b", loaded=[TOON])
        assert (chosen(TOON), chosen(PIXEL)) == ("b", "a")

    @pytest.mark.parametrize(
        "unfit",
        [
            {"duty": Duty.DRAINING},
            {"duty": Duty.MAINTENANCE},
            {"activity": "refusing"},
            {"faulty": FAULTY},
            {"last_seen": timezone.now() - timedelta(seconds=31)},
        ],
        ids=["draining", "maintenance", "refusing", "faulty", "silent"],
    )
    def test_never_who_cannot_or_should_not(self, unfit: dict) -> None:
        make_worker("w1", **unfit)
        assert chosen() is None and worker_for_job(TOON, {}) is None
        make_worker("w2", speeds={TOON: 0.01})
        assert chosen() == "w2" and worker_for_job(TOON, {}) == "w2"
        assert chosen(avoid=("w2",)) is None

    def test_a_faulty_release_does_not_stop_the_others(self) -> None:
        make_worker("w1", faulty=FAULTY)
        assert (chosen(TOON), chosen(PIXEL)) == (None, "w1")

    def test_two_in_flight_are_enough(self) -> None:
        make_worker("w1")
        fleet = Fleet.now()
        for _ in range(2):
            assert fleet.has_room
            fleet.burden("w1", TOON, 4)
        assert not fleet.has_room and fleet.choose(TOON) is None

    def test_orders_of_those_who_left_weigh_on_nobody(self) -> None:
        make_worker("w1")
        fleet = Fleet.now()
        for name in ("gone", "", "gone"):
            fleet.burden(name, TOON, 1000)
        assert fleet.seconds_in_hand("w1") == 0 and fleet.has_room


class TestSize:
    @pytest.mark.parametrize("speed", [0.1, 0.3, 1, 4, 20])
    def test_it_takes_20_to_60_seconds_though_the_speed_is_off(self, speed: float) -> None:
        worker = make_worker(speeds={TOON: speed})
        for off in (0.7, 1, 1.6):
            assert 20 <= size(worker, TOON) / (speed * off) <= 60

    def test_where_somebody_waits_it_is_small(self) -> None:
        worker = make_worker(speeds={TOON: 4})
        assert size(worker, TOON, urgent=True) == 32 < size(worker, TOON)

    def test_at_an_unknown_speed_it_is_small(self) -> None:
        worker = make_worker(speeds={TOON: 4})
        assert size(worker, PIXEL) == dispatch.FIRST_COUNT

    def test_the_slowest_draws_one(self) -> None:
        assert size(make_worker(speeds={TOON: 0.001}), TOON) == 1


class TestJobs:
    def workers(self, *rows: dict) -> Iterable[Worker]:
        return [make_worker(f"w{number}", **row) for number, row in enumerate(rows)]

    def test_the_one_with_the_fewest_of_them(self) -> None:
        self.workers({"speeds": {TOON: 9}}, {})
        assert worker_for_job(TOON, {"w0": 1}) == "w1"
        assert worker_for_job(TOON, {"w0": 1, "w1": 1}) == "w0"

    def test_then_whoever_is_idle_and_has_it_loaded(self) -> None:
        self.workers(
            {"activity": "busy", "loaded": [TOON]}, {"activity": "idle"}, {"loaded": [TOON]}
        )
        assert worker_for_job(TOON, {}) == "w2"
        assert worker_for_job(TOON, {}, avoid=("w2",)) == "w1"

    def test_nobody(self) -> None:
        assert worker_for_job(TOON, {}) is None
