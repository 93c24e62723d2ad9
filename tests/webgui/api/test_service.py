"""Pools, health, the API's document and its page."""

from __future__ import annotations

import json
import re
from pathlib import Path

from django.core.management import call_command
from django.test import Client

from tests.webgui.making import make_batch, make_pool, stock
from webgui.api import health
from webgui.buffer.models import Pool
from webgui.buffer.trouble import note_trouble
from webgui.fleet.models import Worker


def test_pools_tell_levels_and_tags(client: Client, pool: Pool, worker: Worker) -> None:
    stock(pool, 3)
    make_batch(pool, count=4)
    make_pool("pixel")
    first, second = client.get("/api/v1/pools/").json()
    assert (first["slug"], first["available"], first["under_way"]) == ("toon", 3, 4)
    assert first["waiting"] == 0 and first["release"] == pool.release.digest
    assert first["tags"] == {
        "hair colour": ["black hair", "pink hair"],
        "mouth": ["serious", "smiling"],
    }
    assert second["slug"] == "pixel"


def test_healthz_needs_nothing(client: Client) -> None:
    response = client.get("/healthz")
    assert response.status_code == 200 and response.json() == {"status": "alive"}


def test_readyz_without_a_broker(client: Client, pool: Pool, worker: Worker) -> None:
    stock(pool, 2)
    response = client.get("/readyz")  # the test settings name a broker that is not there
    assert response.status_code == 503
    body = response.json()
    assert (body["status"], body["database"], body["broker"]) == (
        "unready",
        "ok",
        "does not answer",
    )
    assert body["pools"][0]["available"] == 2
    assert body["workers"][0]["worker"] == "w1" and body["workers"][0]["alive"]
    assert body["workers"][0]["age_seconds"] < 10


def test_readyz_keeps_the_words_of_a_trouble_to_itself(client: Client, pool: Pool) -> None:
    note_trouble(pool, "w1: no file /home/somebody/releases")
    response = client.get("/readyz")
    assert response.json()["pools"][0]["trouble"] is True
    assert "somebody" not in response.content.decode()


def test_readyz_with_everything(client: Client, pool: Pool, monkeypatch) -> None:
    monkeypatch.setattr(health, "_broker", lambda: "ok")
    response = client.get("/readyz")
    assert response.status_code == 200 and response.json()["status"] == "ready"


def test_the_document_has_every_path_and_answer(client: Client, db: None) -> None:
    document = client.get("/api/v1/schema/").json()
    assert document["openapi"].startswith("3.")
    assert set(document["paths"]) == {
        "/api/v1/avatars/",
        "/api/v1/avatars/{avatar_id}/",
        "/api/v1/avatars/{avatar_id}/image",
        "/api/v1/tickets/{ticket_id}/",
        "/api/v1/pools/",
        "/api/v1/admin/uploads/",
        "/api/v1/admin/uploads/{upload_id}/",
        "/api/v1/admin/checkpoints/",
        "/api/v1/admin/checkpoints/{checkpoint_id}/",
        "/api/v1/admin/checkpoints/{checkpoint_id}/inspect/",
        "/api/v1/admin/releases/",
        "/api/v1/admin/releases/options/",
        "/api/v1/admin/releases/{digest}/",
        "/api/v1/admin/releases/{digest}/previews/",
        "/api/v1/admin/previews/{preview_id}/",
        "/api/v1/admin/previews/{preview_id}/images/{seed}",
        "/api/v1/admin/pools/",
        "/api/v1/admin/pools/{slug}/",
        "/api/v1/admin/pools/{slug}/activations/",
        "/api/v1/admin/pools/{slug}/rollback/",
        "/api/v1/admin/pools/{slug}/canary/",
        "/api/v1/admin/pools/{slug}/canary/promote/",
        "/api/v1/admin/audit/",
        "/api/v1/admin/workers/",
        "/api/v1/admin/workers/{name}/",
        "/api/v1/admin/workers/{name}/duty/",
        "/api/v1/admin/workers/{name}/forgive/",
        "/api/v1/admin/alarms/",
        "/api/v1/admin/history/",
    }
    answers = document["paths"]["/api/v1/avatars/"]["post"]["responses"]
    assert {"201", "202", "400", "409", "429", "503"} <= set(answers)
    assert "application/problem+json" in answers["409"]["content"]


def test_the_document_is_sound(db: None, tmp_path: Path) -> None:
    file = str(tmp_path / "schema.yml")
    call_command("spectacular", file=file, validate=True, fail_on_warn=True)


def test_the_page_of_the_document_needs_no_other_host(client: Client, db: None) -> None:
    response = client.get("/api/docs/")
    assert response.status_code == 200
    page = response.content.decode()
    links = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert links and all(link.startswith(("/", "?")) for link in links)
    assert "<script>" not in page  # the CSP would not let it run
    for link in links:
        assert client.get(link).status_code == 200, link


def test_problems_of_the_api_only(client: Client, db: None) -> None:
    assert "text/html" in client.get("/nothing-here/")["Content-Type"]
    assert json.loads(client.get("/api/nothing/").content)["code"] == "not_found"
