"""What this worker has done since it was started: counts that the child keeps on disk, so that the
main process, which sends heartbeats and answers Prometheus, can read them, and so that a child's
end does not lose them.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from pydantic import BaseModel, ValidationError

from generator_worker.disk import replace

SCORE_BUCKETS = tuple(step / 20 for step in range(1, 21))
"""Upper edges, inclusive, of the critic's scores from 0 to 1."""


class Counts(BaseModel):
    batches: int = 0
    drawn: int = 0
    images: int = 0
    """Kept by curation, and spooled."""
    seconds: float = 0.0
    """Drawing, curating, enlarging and spooling them."""
    dropped: dict[str, int] = {}
    failures: dict[str, int] = {}
    fetched_bytes: int = 0
    jobs: dict[str, int] = {}
    """Done and spooled, by kind."""
    deliveries: int = 0
    delivered_bytes: int = 0
    delivery_seconds: float = 0.0
    """On what was delivered; a failed try's time is not in it."""
    delivery_failures: int = 0
    scores: list[int] = [0] * len(SCORE_BUCKETS)
    score_sum: float = 0.0


class Ledger:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def read(self) -> Counts:
        try:
            return Counts.model_validate_json(self._path.read_bytes())
        except (FileNotFoundError, ValidationError):
            return Counts()

    def clear(self) -> None:
        """A worker starts: count from nought."""
        self._path.unlink(missing_ok=True)

    def made(self, drawn: int, images: int, seconds: float, dropped: Mapping[str, int]) -> None:
        def add(counts: Counts) -> None:
            counts.batches += 1
            counts.drawn += drawn
            counts.images += images
            counts.seconds += seconds
            for reason, times in dropped.items():
                counts.dropped[reason] = counts.dropped.get(reason, 0) + times

        self._change(add)

    def judged(self, scores: Iterable[float]) -> None:
        def add(counts: Counts) -> None:
            for score in scores:
                if math.isfinite(score):
                    edge = min(bisect_left(SCORE_BUCKETS, score), len(SCORE_BUCKETS) - 1)
                    counts.scores[edge] += 1
                    counts.score_sum += score

        self._change(add)

    def failed(self, kind: str) -> None:
        def add(counts: Counts) -> None:
            counts.failures[kind] = counts.failures.get(kind, 0) + 1

        self._change(add)

    def fetched(self, size: int) -> None:
        def add(counts: Counts) -> None:
            counts.fetched_bytes += size

        self._change(add)

    def did(self, kind: str) -> None:
        def add(counts: Counts) -> None:
            counts.jobs[kind] = counts.jobs.get(kind, 0) + 1

        self._change(add)

    def delivered(self, size: int, seconds: float) -> None:
        def add(counts: Counts) -> None:
            counts.deliveries += 1
            counts.delivered_bytes += size
            counts.delivery_seconds += seconds

        self._change(add)

    def delivery_failed(self) -> None:
        def add(counts: Counts) -> None:
            counts.delivery_failures += 1

        self._change(add)

    def _change(self, change: Callable[[Counts], None]) -> None:
        with self._lock:  # the warm-up thread fetches, the courier delivers
            counts = self.read()
            change(counts)
            replace(self._path, counts.model_dump_json().encode())
