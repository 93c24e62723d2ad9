"""Memory stays flat over many batches: nothing of one is kept for the next."""

from __future__ import annotations

import statistics
from uuid import uuid4

from generator_worker import memory
from generator_worker.batches import Workshop, carry_out
from generator_worker.contract import GenerateBatch
from generator_worker.drawing import Painter
from generator_worker.duty import DutyBook
from generator_worker.engine import Engine
from generator_worker.faulty import FaultyReleases
from generator_worker.journal import Journal
from generator_worker.ledger import Ledger
from tests.generator_worker.small_release import SmallRelease

DIGEST = "0" * 64


def residents(workshop: Workshop, batches: int, images: int = 2) -> list[int]:
    """Bytes resident after each of so many batches: drawn, curated, enlarged, spooled, settled."""
    found = []
    for number in range(batches):
        order = GenerateBatch(
            batch_id=uuid4(),
            pool="toon",
            release_digest=DIGEST,
            count=images,
            base_seed=1000 * number + 1,
        )
        assert carry_out(workshop, order)
        workshop.outbox.settle(order.batch_id)
        found.append(memory.resident())
    return found


def test_memory_stays_flat(config, outbox, reports, post, tmp_path):
    engine = Engine([tmp_path / "releases"])
    release = SmallRelease(DIGEST)
    engine._loaded[DIGEST] = Painter(release)
    workshop = Workshop(
        config,
        engine,
        outbox,
        Journal(tmp_path / "orders"),
        reports,
        FaultyReleases(tmp_path / "faulty.json", "tests"),
        DutyBook(tmp_path / "duty"),
        Ledger(tmp_path / "ledger.json"),
    )
    found = residents(workshop, 60)
    second, last = statistics.median(found[10:20]), statistics.median(found[50:])
    assert last < 1.05 * second
