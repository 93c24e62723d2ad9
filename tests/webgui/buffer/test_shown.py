"""What nginx finds by itself, and how it goes again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from django.core.management import call_command
from django.test import Client

from tests.webgui.making import deliver, make_batch
from webgui.buffer.claim import claim
from webgui.buffer.ingest import ingest
from webgui.buffer.models import Avatar, Pool
from webgui.buffer.pictures import stored
from webgui.buffer.shown import link_of, links


@pytest.fixture(autouse=True)
def behind_nginx(settings) -> None:
    settings.X_ACCEL = True


@pytest.fixture
def filled(pool: Pool, home: Path) -> Pool:
    batch = make_batch(pool, count=2)
    deliver(batch)
    ingest(batch.pk)
    return pool


def test_a_claim_shows_its_picture_and_no_other(filled: Pool, client: Client, home: Path) -> None:
    answer = client.post("/api/v1/avatars/", {}, content_type="application/json").json()
    avatar = Avatar.objects.get(pk=answer["id"])
    link = link_of(home / "media", avatar.pk, 512, "png")
    assert list(links()) == [link]
    assert link.samefile(stored(avatar.digest))


def test_what_is_asked_for_is_shown_from_then_on(filled: Pool, client: Client, home: Path) -> None:
    avatar = claim(client="visitor:a").avatar
    assert avatar is not None and not list(links())
    url = f"/api/v1/avatars/{avatar.pk}/image"
    for _ in range(2):
        assert client.get(url)["X-Accel-Redirect"].startswith("/_files/media/avatars/")
        assert client.get(f"{url}?size=64&format=webp").status_code == 200
        assert client.get(f"{url}?size=65").content.startswith(b"\x89PNG")  # not kept
    small = link_of(home / "cache" / "images", avatar.pk, 64, "webp")
    assert set(links()) == {link_of(home / "media", avatar.pk, 512, "png"), small}
    assert small.read_bytes()[8:12] == b"WEBP"
    free = Avatar.objects.get(state=Avatar.State.AVAILABLE)
    assert client.get(f"/api/v1/avatars/{free.pk}/image").status_code == 404
    assert len(list(links())) == 2


def test_what_is_taken_away_is_shown_no_more(filled: Pool, client: Client) -> None:
    """Neither where the file went, nor where the avatar did; what somebody has stays."""
    kept, gone = (claim(client="visitor:a").avatar for _ in range(2))
    assert kept is not None and gone is not None
    for avatar in (kept, gone):
        for query in ("", "?size=64"):
            client.get(f"/api/v1/avatars/{avatar.pk}/image{query}")
    assert len(list(links())) == 4
    call_command("prune_buffer", "--orphans-only")
    assert len(list(links())) == 4
    Avatar.objects.filter(pk=gone.pk).delete()
    call_command("prune_buffer", "--orphans-only", "--dry-run")
    assert len(list(links())) == 4
    call_command("prune_buffer", "--orphans-only")
    assert {link.name[:36] for link in links()} == {str(kept.pk)}
    stored(kept.digest).unlink()
    call_command("prune_buffer", "--orphans-only")
    assert [link.name for link in links()] == [f"{kept.pk}-64.png"]


def test_without_hard_links_nginx_asks(
    filled: Pool, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    answer = client.post("/api/v1/avatars/", {}, content_type="application/json")
    assert answer.status_code == 201
    picture = client.get(f"/api/v1/avatars/{answer.json()['id']}/image")
    assert picture["X-Accel-Redirect"] and not list(links())
