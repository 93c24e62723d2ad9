"""The admin site keeps pools and releases in step."""

from __future__ import annotations

from django.test import Client

from tests.webgui.making import make_release
from webgui.buffer.models import Pool
from webgui.registry.models import Release


def test_a_pools_release_is_not_changed_here(admin_client: Client, pool: Pool) -> None:
    """What becomes of the images in the buffer is to be decided then: /manage/pools/."""
    new = make_release("newer")
    form = {
        "name": "Toons", "slug": "other", "release": new.pk, "low_watermark": 8,
        "high_watermark": 16, "batch_size": 4,
    }  # fmt: skip
    assert admin_client.post(f"/admin/buffer/pool/{pool.pk}/change/", form).status_code == 302
    before = pool.release
    pool.refresh_from_db()
    assert (pool.name, pool.slug, pool.release) == ("Toons", "toon", before)


def test_a_new_pool_makes_its_release_active(admin_client: Client, pool: Pool) -> None:
    previewed = make_release("pixel", Release.State.PREVIEWED)
    form = {
        "name": "Pixel", "slug": "pixel", "release": previewed.pk, "low_watermark": 1,
        "high_watermark": 2, "batch_size": 1,
    }  # fmt: skip
    assert admin_client.post("/admin/buffer/pool/add/", form).status_code == 302
    previewed.refresh_from_db()
    assert Pool.objects.get(slug="pixel").release == previewed and previewed.state == "active"


def test_a_new_pool_takes_no_draft(admin_client: Client, pool: Pool) -> None:
    draft = make_release("pixel", Release.State.DRAFT)
    form = {
        "name": "Pixel", "slug": "pixel", "release": draft.pk, "low_watermark": 1,
        "high_watermark": 2, "batch_size": 1,
    }  # fmt: skip
    assert admin_client.post("/admin/buffer/pool/add/", form).status_code == 200
    assert not Pool.objects.filter(slug="pixel").exists()


def test_nobody_edits_a_releases_state(admin_client: Client, pool: Pool) -> None:
    release = pool.release
    form = {"title": "Renamed", "state": "retired"}
    page = admin_client.post(f"/admin/registry/release/{release.pk}/change/", form)
    assert page.status_code == 302
    release.refresh_from_db()
    assert (release.title, release.state) == ("Renamed", "active")
