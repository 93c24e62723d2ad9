"""When the shelf is empty: the line, the words for nobody there, and for asking too often."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import expect


def test_ticket_shows_place_progress_and_then_the_picture(scene: Any, visit: Any) -> None:
    scene.order("beat")
    scene.order("order", slug="toon", fraction=0.25)
    first, second = visit("/"), visit("/")
    for page in (first, second):
        page.get_by_role("button", name="Generate").click()
        expect(page.locator(".booth")).to_have_attribute("data-state", "waiting")
    expect(first.locator("[data-place]")).to_have_text("You are next")
    expect(second.locator("[data-place]")).to_have_text("Number 2 in line")
    expect(second.locator("[data-wait]")).to_have_text(re.compile(r"about \d+ s"))
    expect(second.get_by_role("progressbar")).to_have_attribute("value", "0.25")
    expect(second.locator("[data-note]")).to_have_text("enhancing")
    assert re.search(r"/tickets/[0-9a-f-]{36}/$", second.url)

    scene.deliver(["pink hair"])
    expect(first.locator(".booth")).to_have_attribute("data-state", "ready")
    expect(first.locator(".strip img")).to_have_count(1)
    assert first.url == f"{scene.url}/"
    expect(second.locator("[data-place]")).to_have_text("You are next")
    scene.deliver(["black hair"])
    expect(second.locator(".booth")).to_have_attribute("data-state", "ready")
    assert second.locator("#portrait").evaluate("img => img.naturalWidth") == 512


def test_reload_goes_on_waiting_and_escape_leaves(scene: Any, visit: Any) -> None:
    scene.order("beat")
    page = visit("/")
    page.get_by_role("button", name="Generate").click()
    expect(page.locator("[data-place]")).to_have_text("You are next")
    page.reload()
    expect(page.locator(".booth")).to_have_attribute("data-state", "waiting")
    expect(page.get_by_role("link", name="Leave the line")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".booth")).to_have_attribute("data-state", "idle")
    expect(page.locator("[type=submit]")).to_be_visible()
    assert page.url == f"{scene.url}/"


def test_nobody_there_is_said_in_words(scene: Any, visit: Any) -> None:
    page = visit("/", expect_refusal=True)
    page.get_by_role("button", name="Generate").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("Nobody is drawing right now")
    expect(alert).to_contain_text("start a worker")
    expect(alert).to_contain_text("Try again in 30 seconds.")
    scene.deliver(["pink hair"])
    page.get_by_role("button", name="Generate").click()
    expect(page.locator(".booth")).to_have_attribute("data-state", "ready")
    expect(alert).to_be_hidden()


def test_expired_ticket_says_so(scene: Any, visit: Any) -> None:
    scene.order("beat")
    page = visit("/")
    page.get_by_role("button", name="Generate").click()
    expect(page.locator("[data-place]")).to_have_text("You are next")
    scene.order("clear")
    expect(page.get_by_role("alert")).to_contain_text("Your place in line has run out")
    expect(page.locator("[type=submit]")).to_be_visible()


def test_asking_too_often_says_when_to_try_again(strict_scene: Any, chromium: Any) -> None:
    strict_scene.deliver(["pink hair"], ["black hair"], ["blond hair"])
    page = chromium.new_page(base_url=strict_scene.url)
    page.goto("/")
    button = page.locator("[type=submit]")
    for number in (1, 2):
        button.click()
        expect(page.locator(".strip img")).to_have_count(number)
    button.click()
    expect(page.get_by_role("alert")).to_contain_text(re.compile(r"Try again in \d+ seconds?\."))
    expect(button).to_have_attribute("aria-disabled", "true")
    expect(button).to_have_text(re.compile(r"Again in \d+ s"))
    page.context.close()
