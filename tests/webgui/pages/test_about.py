"""The about page credits every model and artist, from the manifest where there is one."""

from __future__ import annotations

import tomllib

import pytest
from django.conf import settings
from django.test import Client
from pytest_django.asserts import assertContains, assertNotContains

from tests.webgui.making import make_release, release_manifest
from webgui.buffer.models import Pool

pytestmark = pytest.mark.django_db

TOONHEAD = {
    "name": "Toon Head",
    "author": "Johan Melin",
    "licence": "CC BY 4.0",
    "url": "https://www.figma.com/community/file/1589627891082866389",
    "what": "The drawings the demo was taught with.",
}


def test_models_are_named_without_any_release(client: Client) -> None:
    page = client.get("/about/")
    for name in ("StyleGAN2", "Stable Diffusion", "LoRA", "Real-ESRGAN", "OpenNSFW"):
        assertContains(page, name)
    for licence in ("BSD-3-Clause", "Apache-2.0", "CC BY 4.0", "Johan Melin", "jQuery", "Gabarito"):
        assertContains(page, licence)


def test_credits_come_from_the_pools_release(client: Client, pool: Pool) -> None:
    pool.release.manifest = release_manifest(licences=[TOONHEAD])
    pool.release.save()
    make_release("unused")
    page = client.get("/about/")
    assertContains(page, "The drawings the demo was taught with.")
    assertContains(page, "Johan Melin")
    assertContains(page, f'href="{TOONHEAD["url"]}"')
    assertNotContains(page, "unused")


def test_the_shipped_recipe_credits_its_artist(client: Client, pool: Pool) -> None:
    recipe = settings.BASE_DIR / "models_core" / "recipes" / "toon-release.toml"
    licences = tomllib.loads(recipe.read_text())["licences"]
    pool.release.manifest = release_manifest(licences=licences)
    pool.release.save()
    page = client.get("/about/")
    (drawn,) = page.context["releases"]
    artist = next(credit for credit in drawn.credits if credit.name == "ToonHead")
    assert (artist.author, artist.licence) == ("Johan Melin", "CC BY 4.0")
    for row in licences:
        assertContains(page, row["author"])
        assertContains(page, f'href="{row["url"]}"')
        assertContains(page, f'href="{row["licence_url"]}" rel="license noopener"')
    assert "ToonHead" not in [credit.name for credit in page.context["credits"]]


def test_what_a_release_credits_is_not_credited_twice(client: Client, pool: Pool) -> None:
    upscaler = {"name": "Real-ESRGAN animevideov3", "licence": "BSD-3-Clause"}
    pool.release.manifest = release_manifest(licences=[TOONHEAD, upscaler])
    pool.release.save()
    page = client.get("/about/")
    names = [credit.name for credit in page.context["credits"]]
    assert "Real-ESRGAN" not in names and "ToonHead" not in names
    assert "OpenNSFW" in names and "jQuery 4" in names


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "//evil.example"])
def test_only_web_addresses_become_links(client: Client, pool: Pool, url: str) -> None:
    pool.release.manifest = release_manifest(
        licences=[{"name": "X", "url": url, "licence_url": url}]
    )
    pool.release.save()
    page = client.get("/about/")
    assertContains(page, "author not stated · licence not stated")
    assertNotContains(page, url)
