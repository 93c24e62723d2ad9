"""The page of one avatar, for its owner and for whoever has the link."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.test import Client
from pytest_django.asserts import assertContains, assertNotContains

from tests.webgui.making import stock
from webgui.buffer.models import Avatar, Pool

pytestmark = pytest.mark.django_db


@pytest.fixture
def mine(client: Client, pool: Pool) -> Avatar:
    stock(pool, 1, ("pink hair", "smiling"), start=4711)
    client.post("/", {"pool": "toon"})
    return Avatar.objects.get(state=Avatar.State.CLAIMED)


def test_owner_sees_picture_traits_and_downloads(client: Client, mine: Avatar) -> None:
    page = client.get(f"/avatars/{mine.pk}/")
    image = f"/api/v1/avatars/{mine.pk}/image"
    assertContains(page, "All yours.")
    assertContains(page, 'alt="Cartoon avatar: pink hair, smiling" width="512"')
    assertContains(page, "<li>pink hair</li>", html=True)
    for size in (512, 256, 128, 64, 32):
        for format in ("png", "webp"):
            assertContains(page, f'href="{image}?size={size}&amp;format={format}"', count=1)
    assertContains(page, "4711")
    assertContains(page, mine.release.digest[:12])


def test_shared_link_describes_itself_to_other_sites(mine: Avatar) -> None:
    page = Client().get(f"/avatars/{mine.pk}/")
    image = f"http://testserver/api/v1/avatars/{mine.pk}/image?size=512&amp;format=png"
    assertContains(page, f'<meta property="og:image" content="{image}">', html=True)
    title = '<meta property="og:title" content="Cartoon avatar: pink hair, smiling">'
    assertContains(page, title, html=True)
    url = f'<meta property="og:url" content="http://testserver/avatars/{mine.pk}/">'
    assertContains(page, url, html=True)


def test_stranger_sees_no_strip_and_no_ownership(mine: Avatar) -> None:
    page = Client().get(f"/avatars/{mine.pk}/")
    assertContains(page, "One of a kind.")
    assertNotContains(page, "Your strip")
    assertNotContains(page, "visitor:")


def test_what_is_still_on_the_shelf_has_no_page(client: Client, pool: Pool) -> None:
    shelved = stock(pool, 1)[0]
    assertContains(client.get(f"/avatars/{shelved.pk}/"), "Nobody sits here.", status_code=404)
    Avatar.objects.update(state=Avatar.State.RETIRED)
    assert client.get(f"/avatars/{shelved.pk}/").status_code == 404


def test_unknown_address_is_not_found(client: Client) -> None:
    assert client.get(f"/avatars/{uuid4()}/").status_code == 404
    assert client.get("/avatars/7/").status_code == 404


def test_tags_are_escaped(client: Client, mine: Avatar) -> None:
    Avatar.objects.update(tags=["<script>alert(1)</script>"])
    page = client.get(f"/avatars/{mine.pk}/")
    assertNotContains(page, "<script>alert")


def test_avatar_without_tags_is_described_all_the_same(client: Client, mine: Avatar) -> None:
    Avatar.objects.update(tags=[])
    assertContains(client.get(f"/avatars/{mine.pk}/"), 'alt="Cartoon avatar"')


def test_page_may_only_be_read(client: Client, mine: Avatar) -> None:
    assert client.post(f"/avatars/{mine.pk}/").status_code == 405
