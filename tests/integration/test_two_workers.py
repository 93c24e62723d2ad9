"""Two real workers of different speed share one pool; one is killed, and nothing is lost."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.house import House

RUN, REST = 0.06, 0.12  # seconds: the slow worker draws a third of the time


class Hobble(threading.Thread):
    """Makes a worker slow: its drawing process is stopped most of the time."""

    def __init__(self, house: House, name: str) -> None:
        super().__init__(daemon=True)
        self._house, self._name = house, name
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.is_set():
            self._signal(signal.SIGSTOP)
            self._over.wait(REST)
            self._signal(signal.SIGCONT)
            self._over.wait(RUN)

    def _signal(self, what: signal.Signals) -> None:
        try:
            for child in self._house.children(self._name):
                os.kill(child, what)
        except (ProcessLookupError, FileNotFoundError):
            pass  # a new one comes

    def end(self) -> None:
        self._over.set()
        self.join()
        self._signal(signal.SIGCONT)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[House]:
    """Broker, SFTP server, the server's workers, and two generators: quick and slow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("STYLEDIFFUSER_DATABASE_URL", "")
        patch.setenv("STYLEDIFFUSER_RELEASES", str(bundle.parent))
        patch.setenv("STYLEDIFFUSER_AVATAR_SIZE", "128")
        patch.setenv("STYLEDIFFUSER_WORKER_SILENCE_SECONDS", "15")
        house = House(tmp_path_factory.mktemp("home"))
        hobble = Hobble(house, "slow")
        try:
            house.start("broker", "sftp")
            for name in ("quick", "slow"):
                house.start_worker(name)
            house.manage("migrate", "--verbosity", "0")
            house.start("server", "ingest")
            house.wait("both workers", lambda: at_work(house) == {"quick", "slow"}, 90)
            hobble.start()
            yield house
        finally:
            if hobble.is_alive():
                hobble.end()
            house.end()


def at_work(house: House) -> set[str]:
    rows = house.rows("SELECT name FROM fleet_worker WHERE activity IN ('idle', 'busy')")
    return {name for (name,) in rows}


def images_by(house: House) -> dict[str, int]:
    return dict(
        house.rows(
            "SELECT worker, sum(ingested_count) FROM buffer_batch "
            "WHERE state = 'ingested' GROUP BY worker"
        )
    )


def speeds(house: House) -> dict[str, float]:
    rows = house.rows("SELECT name, images_per_minute FROM fleet_worker")
    return {name: speed for name, speed in rows if speed}


def test_both_get_work_and_each_as_much_as_it_can_do(house: House, bundle: Path):
    house.open_pool("shared", bundle, images=100, batch_size=32)
    house.wait("100 avatars", lambda: house.available("shared") >= 100, 120)
    house.wait("both speeds", lambda: len(speeds(house)) == 2, 60)
    house.open_pool("shared", bundle, images=180, batch_size=64)
    house.wait("180 avatars", lambda: house.available("shared") >= 180, 120)
    made, measured = images_by(house), speeds(house)
    assert made["quick"] > made["slow"] > 0
    assert measured["quick"] > measured["slow"] > 0
    assert all(state == "ingested" for _, state, _ in house.batches("shared"))


def test_what_a_killed_worker_had_is_made_by_the_other(house: House, bundle: Path):
    house.order("deserted", bundle, images=48, worker="quick")
    house.wait("the batch being drawn", lambda: house.drawing("deserted") > 0.05)
    house.kill("quick")
    house.wait("48 avatars", lambda: house.available("deserted") == 48, 120)
    query = (
        "SELECT b.worker, b.attempt, b.state FROM buffer_batch b JOIN buffer_pool p "
        "ON p.id = b.pool_id WHERE p.slug = 'deserted'"
    )
    assert house.rows(query) == [("slow", 2, "ingested")]
    # It takes up what it had begun, and all it makes is known already.
    house.start_worker("quick")
    settled = house.home / "workers" / "quick" / "outbox" / "settled"
    (batch_id, *_) = house.batches("deserted")[0]
    house.wait("its receipt", lambda: (settled / batch_id).exists(), 150)
    assert house.available("deserted") == 48


def test_nothing_was_lost_or_doubled(house: House):
    assert house.rows("SELECT digest FROM buffer_avatar GROUP BY digest HAVING count(*) > 1") == []
    seeds = [seed for (seed,) in house.rows("SELECT seed FROM buffer_avatar")]
    assert len(seeds) == len(set(seeds))
    kept = house.rows("SELECT sum(ingested_count) FROM buffer_batch")[0][0]
    assert kept == len(seeds)
    assert {state for (state,) in house.rows("SELECT state FROM buffer_batch")} == {"ingested"}
    for name in ("quick", "slow"):
        house.wait("an empty outbox", lambda name=name: not house.outbox_of(name).waiting())
