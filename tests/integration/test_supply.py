"""One avatar's way from order to receipt, and the ways it can be disturbed."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from tests.integration.house import House, copy_of
from tests.integration.story import ask, hops, scrape

KEEPER = """
from django.contrib.auth.models import User
from django.core.management import call_command
User.objects.create(username="keeper", is_staff=True)
call_command("add_token", "keeper")
"""
PREVIEWS_WAY = [
    "web: webgui.studio.jobs",
    "generator: generator_worker.jobs",
    "generator: generator_worker.courier",
    "ingest-worker: webgui.studio.deliveries",
    "generator: generator_worker.workshop",
]
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


def test_one_id_tells_the_whole_story(house: House, bundle: Path):
    """From a visitor's claim on an empty buffer to the avatar, through every process."""
    house.start("web")
    # Between marks of nought nothing is ordered until somebody waits.
    house.open_pool("story", bundle, images=0, batch_size=4)
    claim = {"Content_Type": "application/json", "X_Request_ID": "story-1"}
    house.wait("the web server", lambda: ask(house, "GET", "/healthz"))
    house.wait("a worker", lambda: house.rows("SELECT name FROM fleet_worker"), 90)
    headers, ticket = ask(house, "POST", "/api/v1/avatars/", b'{"pool": "story"}', **claim)
    assert headers["X-Request-ID"] == "story-1"
    where = f"/api/v1/tickets/{ticket['id']}/"
    house.wait("an avatar", lambda: ask(house, "GET", where)[1]["state"] == "served", 120)
    avatar = ask(house, "GET", where)[1]["avatar"]["id"]
    receipt = "generator: generator_worker.workshop"
    house.wait("a receipt", lambda: receipt in hops(house, "story-1"), 60)
    ((batch, _, _),) = house.batches("story")
    way = [
        "web: webgui.buffer.claim",
        "server-worker: webgui.buffer.orders",
        "generator: generator_worker.batches",
        "ingest-worker: webgui.buffer.ingest",
        receipt,
    ]
    # The worker says that it has delivered as soon as it may, when others may have begun already.
    courier, sftp = "generator: generator_worker.courier", "sftp: webgui.sftp.dropbox"
    by_request, by_batch = hops(house, "story-1"), hops(house, batch)
    assert [hop for hop in by_request if hop in way] == way
    assert [hop for hop in by_batch if hop in way] == way[1:]
    assert courier in by_request and {courier, sftp} <= set(by_batch)
    served = "ingest-worker: webgui.buffer.tickets"
    for value in ("story-1", batch, avatar, ticket["id"]):
        assert served in hops(house, value)


def test_so_it_does_of_a_preview_and_an_upload(house: House, bundle: Path, tmp_path: Path):
    draft = copy_of(bundle, tmp_path / "draft")
    house.manage("load_release", str(draft))
    digest = hashlib.sha256((draft / "release.json").read_bytes()).hexdigest()
    token = house.manage("shell", "--no-imports", "-c", KEEPER).split()[-1]
    staff = {"Authorization": f"Bearer {token}"}
    path = f"/api/v1/admin/releases/{digest}/previews/"
    preview = ask(house, "POST", path, X_Request_ID="story-2", **staff)[1]
    tus = {"Tus_Resumable": "1.0.0", "X_Request_ID": "story-3", **staff}
    headers, _ = ask(house, "POST", "/api/v1/admin/uploads/", Upload_Length="9", **tus)
    where = headers["Location"]
    body = {"Content_Type": "application/offset+octet-stream", "Upload_Offset": "0"}
    headers, _ = ask(
        house, "PATCH", where, b"no model.", **{**tus, **body, "X_Request_ID": "other"}
    )
    checkpoint = headers["Checkpoint"].rstrip("/").rpartition("/")[2]
    verdict = "ingest-worker: webgui.registry.inspection"
    for value in ("story-3", checkpoint):
        house.wait("an inspection", lambda value=value: verdict in hops(house, value))
    settled = "generator: generator_worker.workshop"
    house.wait("a settled job", lambda: settled in hops(house, "story-2"), 120)
    for value in ("story-2", preview["id"]):
        assert set(PREVIEWS_WAY) <= set(hops(house, value))
    no_secret_is_told(house, token)


def test_the_metrics_are_what_the_rows_say(house: House):
    """Counted by the ingest worker and the server's, told by the web process."""
    ((ingested, batches),) = house.rows(
        "SELECT count(*), count(DISTINCT batch_id) FROM buffer_avatar"
    )
    told = scrape(house)
    assert told["stylediffuser_images_ingested_total"] == ingested
    assert told["stylediffuser_deliveries_total"] == batches
    assert told["stylediffuser_avatar_score_count"] == ingested
    assert told["stylediffuser_ticket_wait_seconds_count"] == 1
    assert told["stylediffuser_jobs_total"] == 1
    assert told["stylediffuser_inspections_total"] == 1
    assert told["stylediffuser_broker_up"] == 1
    claims = "stylediffuser_claims_total"
    house.wait("the clock's tick", lambda: scrape(house).get(claims) == 1, 40)


def no_secret_is_told(house: House, token: str) -> None:
    key = house.plan.worker_key.read_text().splitlines()[1]
    secrets = [house.plan.password, (house.home / "secret_key").read_text().strip(), token, key]
    for log in (house.home / "logs").glob("*.log"):
        text = log.read_text(errors="replace")
        assert [secret for secret in secrets if secret in text] == [], log.name


def test_nothing_was_lost_or_doubled(house: House):
    """After all of the above, every image counts once and every batch is settled."""
    doubled = house.rows("SELECT digest FROM buffer_avatar GROUP BY digest HAVING count(*) > 1")
    assert doubled == []
    states = {state for (state,) in house.rows("SELECT state FROM buffer_batch")}
    assert states <= {"ingested", "failed"}
    assert house.outbox.waiting() == []
