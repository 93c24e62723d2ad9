"""Who gets the next piece of work, and how large it should be.

    fleet = Fleet.now()                     # those who can take orders at this moment
    fleet.burden("w1", digest, 12)          # for each order under way: what is left of it
    worker = fleet.choose(digest)           # the one that would have it done first, or None
    size(worker, digest)                    # so many images take it 20 to 60 seconds

    worker_for_job(digest, {"w1": 2})       # a job somebody waits for: the name, or None

Every piece of work is sent to one worker's own queue. A queue that all share would let a slow
worker take what a fast one could do sooner, or one that cannot do it at all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from django.conf import settings

from generator_worker.contract import State

from . import roster
from .models import Worker

AIM_SECONDS = 35.0
"""What an order should take. At two thirds of the speed or one and a half it still takes 20
to 60 seconds."""
URGENT_SECONDS = 8.0
"""What it should take where somebody waits for the first images of it."""
FIRST_COUNT = 4
"""Images in an order for a worker that has not measured itself with the release; no smaller
order is worth its messages otherwise either."""
LOADING_SECONDS = 10.0
"""What it weighs in the choice of a worker that the release is not in its memory."""
LONGEST_SECONDS = 300.0
"""No order is given to a worker whom it would take longer."""


@dataclass
class Load:
    """What one worker has in hand."""

    orders: int = 0
    seconds: float = 0.0


class Fleet:
    """Who can take orders, with what they have in hand: a picture of one moment."""

    def __init__(self, workers: Iterable[Worker]) -> None:
        self._workers = {worker.name: worker for worker in workers}
        self._loads = {name: Load() for name in self._workers}

    @classmethod
    def now(cls) -> Fleet:
        return cls(roster.at_work())

    def burden(self, name: str, digest: str, images: float) -> None:
        """Note an order that this worker has; those of workers who left do not matter."""
        if (worker := self._workers.get(name)) is not None:
            load = self._loads[name]
            load.orders += 1
            load.seconds += images * worker.seconds_per_image(digest)

    def seconds_in_hand(self, name: str) -> float:
        return self._loads[name].seconds

    @property
    def has_room(self) -> bool:
        return any(self._has_room(name) for name in self._workers)

    def choose(self, digest: str, images: int = 0, avoid: Collection[str] = ()) -> Worker | None:
        """Who would be first to have made so many images of this release, of those with room."""
        able = [
            worker
            for name, worker in self._workers.items()
            if self._has_room(name) and name not in avoid and not worker.is_faulty(digest)
        ]

        def done_in(worker: Worker) -> tuple[float, float, str]:
            pace = worker.seconds_per_image(digest)
            loading = 0.0 if digest in worker.loaded else LOADING_SECONDS
            wait = self._loads[worker.name].seconds
            return wait + loading + max(images, FIRST_COUNT) * pace, pace, worker.name

        return min(able, key=done_in, default=None)

    def _has_room(self, name: str) -> bool:
        return self._loads[name].orders < settings.BATCHES_PER_WORKER


def size(worker: Worker, digest: str, urgent: bool = False) -> int:
    """Images in an order, by this worker's own speed with this release."""
    if not worker.has_measured(digest):
        return FIRST_COUNT
    seconds = URGENT_SECONDS if urgent else AIM_SECONDS
    return max(1, round(seconds / worker.seconds_per_image(digest)))


def able(digest: str, avoid: Collection[str] = ()) -> list[Worker]:
    """Workers that draw this release, busy or not."""
    return [
        worker
        for worker in roster.at_work()
        if worker.name not in avoid and not worker.is_faulty(digest)
    ]


def worker_for_job(digest: str, jobs: Mapping[str, int], avoid: Collection[str] = ()) -> str | None:
    """Who should carry out a job with this release: the one with the fewest of them (`jobs` says
    how many each has), then who is at nothing else, has the release loaded, is quick with it."""

    def rank(worker: Worker) -> tuple[int, bool, bool, float]:
        return (
            jobs.get(worker.name, 0),
            worker.activity == State.BUSY,
            digest not in worker.loaded,
            worker.seconds_per_image(digest),
        )

    found = min(able(digest, avoid), key=rank, default=None)
    return found.name if found else None
