"""The same job with JavaScript switched off."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import expect


@pytest.fixture
def plain(visit: Any) -> Any:
    return lambda path="/", **options: visit(path, java_script_enabled=False, **options)


def test_post_leads_to_the_avatars_page(scene: Any, plain: Any) -> None:
    scene.deliver(*[["black hair", "sad"]] * 3, ["pink hair", "smiling"])
    page = plain(width=320)
    page.get_by_text("Choose traits").click()
    page.get_by_label("hair colour").select_option("pink hair")
    page.get_by_role("button", name="Generate").click()
    page.wait_for_url("**/avatars/*/")
    expect(page.get_by_role("heading", level=1)).to_have_text("All yours.")
    expect(page.locator(".desk .traits li")).to_have_text(["pink hair", "smiling"])
    expect(page.get_by_role("button", name="Copy link")).to_be_hidden()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download PNG").click()
    assert download.value.path().read_bytes().startswith(b"\x89PNG")
    page.get_by_role("link", name="Generate another").click()
    expect(page.locator(".strip img")).to_have_count(1)


def test_ticket_page_refreshes_itself_until_served(scene: Any, plain: Any) -> None:
    scene.order("beat")
    page = plain(expect_refusal=True)
    page.get_by_role("button", name="Generate").click()
    page.wait_for_url("**/tickets/*/")
    expect(page.locator("[data-place]")).to_have_text("You are next")
    scene.deliver(["blond hair"])
    page.wait_for_url(re.compile("/avatars/"))
    expect(page.locator(".desk .traits li")).to_have_text(["blond hair"])


def test_nobody_there_is_said_in_words(scene: Any, plain: Any) -> None:
    page = plain(expect_refusal=True)
    page.get_by_role("button", name="Generate").click()
    expect(page.get_by_role("alert")).to_contain_text("Nobody is drawing right now")
    expect(page.get_by_role("alert")).to_contain_text("Try again in 30 seconds.")
    expect(page.get_by_role("button", name="Generate")).to_be_visible()
