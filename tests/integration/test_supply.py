"""One avatar's way from order to receipt, and the ways it can be disturbed."""

from __future__ import annotations

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


def test_nothing_was_lost_or_doubled(house: House):
    """After all of the above, every image counts once and every batch is settled."""
    doubled = house.rows("SELECT digest FROM buffer_avatar GROUP BY digest HAVING count(*) > 1")
    assert doubled == []
    states = {state for (state,) in house.rows("SELECT state FROM buffer_batch")}
    assert states <= {"ingested", "failed"}
    assert house.outbox.waiting() == []
