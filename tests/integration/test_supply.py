"""One avatar's way from order to receipt, and the ways it can be disturbed."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from tests.integration.house import House, copy_of

UNKNOWN = """
from webgui.buffer.provision import point_pool
from webgui.registry.models import Release
manifest = {"format": 1, "tags": {}, "params": {}, "components": []}
release = Release.objects.create(digest="f" * 64, name="x", title="x", manifest=manifest)
point_pool("unknown", release, low_watermark=4, high_watermark=4, batch_size=4)
"""


def test_an_order_is_drawn_delivered_ingested_and_receipted(house: House, bundle: Path):
    house.open_pool("first", bundle, images=4, batch_size=4)
    house.wait("4 avatars", lambda: house.available("first") == 4, 90)
    ((batch_id, state, _),) = house.batches("first")
    assert state == "ingested"
    house.wait("an empty outbox", lambda: not house.outbox.waiting())
    assert (house.home / "worker" / "outbox" / "settled" / batch_id).exists()
    inbox = house.home / "sftp" / "inbox"
    assert [*(inbox / "new").iterdir(), *(inbox / "tmp").iterdir()] == []
    seeds = house.rows("SELECT seed FROM buffer_avatar")
    assert len(set(seeds)) == 4
    (worker,) = house.rows("SELECT name, device, images_per_minute FROM fleet_worker")
    assert worker[0] == "demo"


def mid_batch(house: House, bundle: Path, slug: str, images: int = 32) -> None:
    house.order(slug, bundle, images)
    house.wait(f"{slug}'s batch being drawn", lambda: house.drawing(slug) > 0.1)


def test_killing_the_drawing_process_costs_only_time(house: House, bundle: Path):
    mid_batch(house, bundle, "child-killed")
    os.kill(house.child("generator"), signal.SIGKILL)
    house.wait("32 avatars", lambda: house.available("child-killed") == 32, 90)
    assert {state for _, state, _ in house.batches("child-killed")} == {"ingested"}


def test_killing_the_whole_worker_costs_only_time(house: House, bundle: Path):
    mid_batch(house, bundle, "main-killed")
    child = house.child("generator")
    house.kill("generator")
    house.wait("the child's end", lambda: not Path(f"/proc/{child}").exists(), 5)
    house.start("generator")
    house.wait("32 avatars", lambda: house.available("main-killed") == 32, 90)
    assert {state for _, state, _ in house.batches("main-killed")} == {"ingested"}


def test_a_stopped_worker_hands_its_batch_back(house: House, bundle: Path):
    # Many: on a quiet machine 32 are drawn within the second that a stopping worker has.
    mid_batch(house, bundle, "stopped", images=160)
    assert house.stop("generator")
    assert house.available("stopped") == 0
    mark = house.home / "worker" / "orders" / "stopped"
    assert mark.exists()
    house.start("generator")
    house.wait("160 avatars", lambda: house.available("stopped") == 160, 120)
    assert not mark.exists()


def test_a_release_that_only_the_server_has_is_fetched(house: House, bundle: Path, tmp_path: Path):
    house.open_pool("fetched", copy_of(bundle, tmp_path / "elsewhere"), images=4, batch_size=4)
    house.wait("4 avatars", lambda: house.available("fetched") == 4, 90)
    (folder,) = (house.home / "worker" / "releases").iterdir()
    assert {path.name for path in folder.iterdir()} >= {"release.json", "pipeline", "critic"}


def test_an_unknown_release_is_refused_once_and_the_server_knows_why(house: House):
    house.manage("shell", "--no-imports", "-c", UNKNOWN)
    house.wait("a refusal", lambda: any(row[1] == "failed" for row in house.batches("unknown")))
    (trouble,) = house.rows("SELECT trouble FROM buffer_pool WHERE slug = 'unknown'")[0]
    assert "This worker does not have release" in trouble
    assert "the server does not have it" in trouble
    before = len(house.batches("unknown"))
    time.sleep(5)
    assert len(house.batches("unknown")) == before <= 2
    house.rows("UPDATE buffer_pool SET paused = 1 WHERE slug = 'unknown'")


def test_batches_wait_on_the_workers_disk_while_the_server_is_away(house: House, bundle: Path):
    assert house.stop("sftp")
    # The listening socket stays open and nobody answers: the worst of the ways to be away.
    house.open_pool("away", bundle, images=4, batch_size=4)
    house.wait("a spooled batch", house.outbox.waiting)
    house.wait("a failed delivery", lambda: "Not delivered" in house.log("generator"))
    assert house.available("away") == 0
    house.start("sftp")
    house.wait("4 avatars", lambda: house.available("away") == 4, 60)
    house.wait("an empty outbox", lambda: not house.outbox.waiting())


def test_a_broker_killed_mid_batch_is_got_over(house: House, bundle: Path):
    mid_batch(house, bundle, "broker-killed")
    house.kill("broker")
    time.sleep(1)
    house.start("broker")
    house.wait("32 avatars", lambda: house.available("broker-killed") == 32, 60)
    house.open_pool("after", bundle, images=4, batch_size=4)
    house.wait("4 avatars of the next order", lambda: house.available("after") == 4, 60)
    house.wait("an empty outbox", lambda: not house.outbox.waiting(), 90)


def heartbeats_go_on(house: House, seconds: float = 30) -> None:
    before = house.rows("SELECT last_seen FROM fleet_worker")
    house.wait(
        "a heartbeat", lambda: house.rows("SELECT last_seen FROM fleet_worker") != before, seconds
    )


def test_a_long_ingest_delays_no_heartbeat_and_no_order(house: House, bundle: Path):
    busy = house.children("ingest")
    for pid in busy:
        os.kill(pid, signal.SIGSTOP)  # as if it were at something long
    try:
        house.open_pool("long-ingest", bundle, images=8, batch_size=4)
        inbox = house.home / "sftp" / "inbox" / "new"
        house.wait("two deliveries in the inbox", lambda: len(list(inbox.iterdir())) == 2, 60)
        heartbeats_go_on(house)
        assert house.available("long-ingest") == 0
    finally:
        for pid in busy:
            os.kill(pid, signal.SIGCONT)
    house.wait("8 avatars", lambda: house.available("long-ingest") == 8)


def test_a_broker_that_dies_as_the_servers_task_ends_is_got_over(house: House):
    """The moment at which Celery's consumer can go deaf for ever: see messaging/link.py."""
    with contextlib.closing(house.database()) as database:
        database.execute("BEGIN IMMEDIATE")  # the server's tasks wait for the database
        time.sleep(3)
        os.kill(house.pid("broker"), signal.SIGSTOP)
    time.sleep(1)  # the task ends, its acknowledgement gets no answer
    house.kill("broker")
    house.start("broker")
    heartbeats_go_on(house, 60)
    heartbeats_go_on(house)


def test_nothing_was_lost_or_doubled(house: House):
    """After all of the above, every image counts once and every batch is settled."""
    doubled = house.rows("SELECT digest FROM buffer_avatar GROUP BY digest HAVING count(*) > 1")
    assert doubled == []
    states = {state for (state,) in house.rows("SELECT state FROM buffer_batch")}
    assert states <= {"ingested", "failed"}
    assert house.outbox.waiting() == []
