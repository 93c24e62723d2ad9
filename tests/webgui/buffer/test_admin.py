"""The admin site keeps pools and releases in step."""

from __future__ import annotations

from django.test import Client

from tests.webgui.making import make_release
from webgui.buffer.models import Pool
from webgui.buffer.replenish import note_trouble
from webgui.registry.models import Release


def test_another_release_for_a_pool_is_what_load_release_does(
    admin_client: Client, pool: Pool
) -> None:
    old, new = pool.release, make_release("newer", Release.State.DRAFT)
    note_trouble(pool, "the old one was broken")
    form = {
        "name": "Toon", "slug": "toon", "release": new.pk, "low_watermark": 8,
        "high_watermark": 16, "batch_size": 4,
    }  # fmt: skip
    assert admin_client.post(f"/admin/buffer/pool/{pool.pk}/change/", form).status_code == 302
    for row in (pool, old, new):
        row.refresh_from_db()
    assert pool.release == new and (pool.trouble, pool.pause) == ("", 0)
    assert (old.state, new.state) == ("retired", "active")


def test_a_new_pool_makes_its_release_active(admin_client: Client, pool: Pool) -> None:
    draft = make_release("pixel", Release.State.DRAFT)
    form = {
        "name": "Pixel", "slug": "pixel", "release": draft.pk, "low_watermark": 1,
        "high_watermark": 2, "batch_size": 1,
    }  # fmt: skip
    assert admin_client.post("/admin/buffer/pool/add/", form).status_code == 302
    draft.refresh_from_db()
    assert Pool.objects.get(slug="pixel").release == draft and draft.state == "active"


def test_nobody_edits_a_releases_state(admin_client: Client, pool: Pool) -> None:
    release = pool.release
    form = {"title": "Renamed", "state": "retired"}
    page = admin_client.post(f"/admin/registry/release/{release.pk}/change/", form)
    assert page.status_code == 302
    release.refresh_from_db()
    assert (release.title, release.state) == ("Renamed", "active")
