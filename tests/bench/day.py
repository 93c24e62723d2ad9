"""A day of demand at ten million avatars, over 200 workers that fail: the model of docs/scaling.md.

Events, not steps: a worker finishes a batch, falls silent, comes back; every `TICK` the clock
orders and takes demand out of the buffer. The rules are the product's: watermarks with
hysteresis, `IN_FLIGHT` orders a worker, a silent worker's orders overdue and ordered again.
Demand is a Poisson process whose rate follows the hour, with a rush in the evening.
"""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.rows import Bar, Row, Size

DAY = 86_400


@dataclass(frozen=True)
class Plan:
    demand: float = 10_000_000
    """Avatars a day."""
    workers: int = 200
    speed: float = 1.2
    """Images a second of a worker: what `images_per_minute` of the fleet page says, by 60."""
    spread: float = 0.3
    """Workers differ: each one's speed is drawn so far around that."""
    batch_seconds: float = 40
    in_flight: int = 2
    kept: float = 0.9
    """Share of images that curation and ingest keep."""
    ship_seconds: float = 2.0
    ingest_rate: float = 240.0
    """Images a second of all ingest processes together."""
    tick: float = 2.0
    low: int = 400_000
    high: int = 600_000
    between_failures: float = 6 * 3600
    """Seconds that a worker works, on average, until it fails with all it has in hand."""
    away: float = 1800.0
    """Seconds until it is back."""
    noticed: float = 30.0
    """Seconds until the server takes it for silent and orders its batches elsewhere."""
    outage_at: float = 19 * 3600
    """A rack is lost at the busiest hour: `outage_share` of all workers, for an hour."""
    outage_share: float = 0.25
    outage: float = 3600.0

    def rate(self, second: float) -> float:
        """Avatars asked for a second: three times as many in the evening as at night."""
        mean = self.demand / DAY
        daily = 1 + 0.5 * math.cos(2 * math.pi * (second - 20 * 3600) / DAY)
        rush = 2.0 if 20.5 * 3600 <= second < 20.75 * 3600 else 1.0
        return mean * daily * rush / (1 + 0.25 * 1.48 / 24)


@dataclass
class Outcome:
    asked: int = 0
    served: int = 0
    lowest: int = 0
    lost: int = 0
    """Batches that went down with their worker and were ordered again."""
    levels: list[tuple[float, int]] = field(default_factory=list)
    """By the minute."""


@dataclass
class _Worker:
    speed: float
    up: bool = True
    life: int = 0
    """Counts failures: what was begun in an earlier life is lost."""
    in_hand: int = 0
    free_at: float = 0.0


class Day:
    def __init__(self, plan: Plan, seed: int = 0) -> None:
        self.plan, self.chance = plan, random.Random(seed)
        low, high = 1 - plan.spread, 1 + plan.spread
        self.workers = [
            _Worker(plan.speed * self.chance.uniform(low, high)) for _ in range(plan.workers)
        ]
        self.level = plan.high
        self.coming = 0.0
        self.filling = False
        self.ingest_free = 0.0
        self.seen = Outcome(lowest=plan.high)
        self.events: list[tuple[float, int, str, int, int, float]] = []
        self.number = 0

    def run(self, seconds: float = DAY) -> Outcome:
        for index, _ in enumerate(self.workers):
            self._at(self.chance.expovariate(1 / self.plan.between_failures), "fail", index)
        self._at(self.plan.outage_at, "outage")
        self._at(0.0, "tick")
        while self.events and self.events[0][0] < seconds:
            now, _, kind, index, life, images = heapq.heappop(self.events)
            getattr(self, f"_{kind}")(now, index, life, images)
        return self.seen

    def _at(
        self, when: float, kind: str, index: int = -1, life: int = 0, images: float = 0
    ) -> None:
        self.number += 1
        heapq.heappush(self.events, (when, self.number, kind, index, life, images))

    def _tick(self, now: float, *_: object) -> None:
        plan, seen = self.plan, self.seen
        asked = self._poisson(plan.rate(now) * plan.tick)
        served = min(asked, self.level)
        self.level -= served
        seen.asked, seen.served = seen.asked + asked, seen.served + served
        seen.lowest = min(seen.lowest, self.level)
        if int(now) % 60 < plan.tick:
            seen.levels.append((now, self.level))
        self._order(now)
        self._at(now + plan.tick, "tick")

    def _order(self, now: float) -> None:
        """Below low, fill until high; the idlest workers first."""
        plan = self.plan
        mark = plan.high if self.filling else plan.low
        self.filling = self.level + self.coming < mark
        if not self.filling:
            return
        for index, worker in enumerate(self.workers):
            while worker.up and worker.in_hand < plan.in_flight:
                images = worker.speed * plan.batch_seconds
                begun = max(now, worker.free_at)
                worker.free_at = begun + plan.batch_seconds
                worker.in_hand += 1
                self.coming += images * plan.kept
                self._at(worker.free_at, "made", index, worker.life, images)

    def _made(self, now: float, index: int, life: int, images: float) -> None:
        worker = self.workers[index]
        if life != worker.life:
            return  # it went down with its worker; `_noticed` has taken it off what is coming
        worker.in_hand -= 1
        self.ingest_free = max(now + self.plan.ship_seconds, self.ingest_free)
        self.ingest_free += images / self.plan.ingest_rate
        self._at(self.ingest_free, "taken_in", images=images)

    def _taken_in(self, now: float, index: int, life: int, images: float) -> None:
        kept = images * self.plan.kept
        self.coming -= kept
        self.level += int(kept + self.chance.random())

    def _fail(self, now: float, index: int, *_: object) -> None:
        self._down(now, index, self.chance.expovariate(1 / self.plan.away))
        self._at(now + self.chance.expovariate(1 / self.plan.between_failures), "fail", index)

    def _outage(self, now: float, *_: object) -> None:
        for index in range(int(self.plan.workers * self.plan.outage_share)):
            self._down(now, index, self.plan.outage)

    def _down(self, now: float, index: int, away: float) -> None:
        worker = self.workers[index]
        if not worker.up:
            return
        lost = worker.in_hand * worker.speed * self.plan.batch_seconds * self.plan.kept
        self.seen.lost += worker.in_hand
        worker.up, worker.life, worker.in_hand = False, worker.life + 1, 0
        self._at(now + self.plan.noticed, "noticed", images=lost)
        self._at(now + max(away, self.plan.noticed), "back", index)

    def _noticed(self, now: float, index: int, life: int, images: float) -> None:
        self.coming -= images

    def _back(self, now: float, index: int, *_: object) -> None:
        self.workers[index].up, self.workers[index].free_at = True, now

    def _poisson(self, mean: float) -> int:
        """Normal where that is as good, which here it always is."""
        return max(0, round(self.chance.gauss(mean, math.sqrt(mean))))


def run(folder: Path, size: Size) -> list[Row]:
    plan = Plan()
    seen = Day(plan).run(size(DAY, 2 * 3600))
    return [
        Row(
            f"{plan.demand:,.0f} avatars a day from {plan.workers} workers with failures, "
            "modelled: served at once, of those asked for",
            seen.served,
            seen.asked,
            "avatars",
            Bar("≥", 1),
            sound=seen.lowest > 0,
            notes=[f"lowest level: {seen.lowest:,}; batches lost and ordered again: {seen.lost:,}"],
        )
    ]
