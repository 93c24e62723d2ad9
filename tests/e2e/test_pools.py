"""A pool is given another release and rolled back, in a browser, by keyboard."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from .test_accessibility import serious

NEWER = "cd" * 32
TOON = "/manage/pools/toon/"


@pytest.fixture
def pool(scene: Any) -> Any:
    scene.order("release", title="Newer heads", digest=NEWER, state="previewed")
    scene.deliver(["pink hair"], ["black hair"], ["blond hair"])
    return scene


def test_there_and_back_by_keyboard(pool: Any, keeper: Any) -> None:
    page = keeper("/manage/releases/")
    page.get_by_role("link", name="Give it to a pool Newer heads").click()
    page.get_by_role("link", name="Toon heads").focus()
    page.keyboard.press("Enter")
    # The form is open, with the release chosen and the keyboard at it.
    expect(page.locator("#give-release")).to_have_value(NEWER)
    expect(page.locator("#give > summary")).to_be_focused()
    page.locator("#give").get_by_label("Not at all: discard them").focus()
    page.keyboard.press("Space")
    page.get_by_role("button", name="Activate").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".lead")).to_contain_text("Newer heads")
    assert pool.available() == 0
    page.get_by_text("Roll back to Bench release").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#back")).to_contain_text("3 discarded images of it come back")
    page.get_by_role("button", name="Roll back", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.locator(".lead")).to_contain_text("Bench release")
    assert pool.available() == 3
    expect(page.locator(".history li")).to_have_count(2)
    expect(page.locator(".history li").first).to_contain_text("Rolled back to Bench release")


def test_a_canary_and_the_level_that_keeps_itself_fresh(pool: Any, keeper: Any) -> None:
    page = keeper(TOON)
    page.get_by_text("Try a release on a share of the orders").click()
    page.get_by_label("Share of the orders, in percent").fill("20")
    page.get_by_role("button", name="Try it").click()
    expect(page.locator("[data-part=canary]")).to_contain_text("on 20 % of the orders")
    expect(page.locator(".gauge")).to_contain_text("3 of")
    pool.deliver(["pink hair"])
    expect(page.locator(".gauge")).to_contain_text("4 of")
    page.get_by_text("Stop trying it").click()
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_text("Try a release on a share of the orders")).to_be_visible()


def test_of_two_administrators_one_is_told_to_look_again(pool: Any, keeper: Any) -> None:
    first, second = keeper(TOON), keeper(TOON, expect_refusal=True)
    for page in (first, second):
        page.get_by_text("Give it another release").click()
    first.get_by_role("button", name="Activate").click()
    expect(first.locator(".lead")).to_contain_text("Newer heads")
    second.get_by_role("button", name="Activate").click()
    expect(second.get_by_role("alert")).to_contain_text("changed by somebody else")
    expect(second.locator(".history li")).to_have_count(1)


@pytest.mark.parametrize(("width", "scheme"), [(320, "dark"), (768, "light"), (1440, "light")])
def test_it_fits_and_axe_is_content(pool: Any, keeper: Any, width: int, scheme: str) -> None:
    pool.order("release", title="Third " + "x" * 60, digest="ef" * 32, state="previewed")
    pool.order("beat")
    pool.order("order", slug="toon", fraction=0.4)
    page = keeper(TOON, width=width, color_scheme=scheme, bypass_csp=True)
    page.get_by_text("Give it another release").click()
    page.get_by_role("button", name="Activate").click()
    expect(page.locator(".history li")).to_have_count(1)
    page.get_by_text("Try a release on a share").click()
    page.get_by_role("button", name="Try it").click()
    expect(page.locator(".history li")).to_have_count(2)
    shots = {"plain": [], "open": page.locator("summary.button").all()}
    for name, panels in shots.items():
        for panel in panels:
            panel.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert serious(page) == []
        if folder := os.environ.get("SHOTS"):
            place = Path(folder) / f"pool-{name}-{width}-{scheme}.png"
            page.screenshot(path=place, full_page=True)
    for path in ("/manage/pools/", "/manage/pools/new/", "/manage/releases/"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert serious(page) == []
        if folder := os.environ.get("SHOTS"):
            name = path.strip("/").replace("/", "-")
            page.screenshot(path=Path(folder) / f"{name}-{width}-{scheme}.png", full_page=True)
