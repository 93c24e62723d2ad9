"""Previews in a real browser: asked for, watched, called off, compared; all by keyboard."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from .test_accessibility import serious

SHELF = "/manage/releases/"
DRAFT = "cd" * 32


@pytest.fixture
def draft(scene: Any) -> str:
    scene.order("release", title="Blond draft", digest=DRAFT)
    scene.order("beat")
    return f"{SHELF}{DRAFT}/"


def press(page: Any, name: str) -> None:
    """The button of this name, by keyboard alone."""
    button = page.get_by_role("button", name=name)
    button.focus()
    page.keyboard.press("Enter")


def test_from_the_button_to_the_grid_without_a_reload(scene: Any, keeper: Any, draft: str) -> None:
    page = keeper(draft)
    press(page, "Preview Blond draft")
    expect(page).to_have_url(re.compile(f"{DRAFT}/#preview$"))
    bar, note = page.get_by_role("progressbar"), page.locator(".running .note")
    expect(note).to_have_text("bench finishes what it is at first.")
    scene.order("preview_step", fraction=0.25, note="drawing the grid")
    expect(note).to_have_text("drawing the grid")
    expect(bar).to_have_attribute("value", "25")
    scene.order("preview_step", fraction=0.9, note="drawing without the adapter")
    expect(bar).to_have_attribute("value", "90")
    scene.order("preview_done", hair="blond hair", poor=[7])
    grid = page.get_by_role("list", name="What it draws")
    expect(grid.get_by_role("img")).to_have_count(16)
    expect(page.get_by_text("Good preview")).to_be_visible()
    expect(page.get_by_text("15 of 16 (score 0.7 or more)")).to_be_visible()
    assert grid.locator(".faulty").count() == 1
    for image in grid.get_by_role("img").all():
        image.scroll_into_view_if_needed()
        expect(image).to_have_js_property("naturalWidth", 128)
    expect(page.get_by_text("Previewed", exact=True)).to_be_visible()


def test_calling_it_off(scene: Any, keeper: Any, draft: str) -> None:
    page = keeper(draft)
    press(page, "Preview Blond draft")
    expect(page.get_by_role("progressbar")).to_be_visible()
    scene.order("preview_step", fraction=0.1, note="drawing the grid")
    press(page, "Cancel the preview of Blond draft")
    expect(page.get_by_role("progressbar")).to_have_count(0)
    expect(page.get_by_role("button", name="Preview Blond draft")).to_be_visible()


@pytest.mark.parametrize(("width", "scheme"), [(320, "dark"), (768, "light"), (1440, "light")])
def test_grids_lie_side_by_side_and_nothing_serious_is_found(
    scene: Any, keeper: Any, draft: str, width: int, scheme: str
) -> None:
    options = {"width": width, "color_scheme": scheme, "bypass_csp": True}
    page = keeper(SHELF, **options)
    for title, hair in (("Blond draft", "blond hair"), ("Bench release", "pink hair")):
        press(page, f"Preview {title}")
        expect(page.get_by_role("progressbar")).to_be_visible()
        poor = [] if title == "Blond draft" else [2, 9, 14]
        idle = [{"part": "adapter", "kind": "adapter", "largest": 0, "mean": 0}] if poor else None
        scene.order("preview_done", hair=hair, poor=poor, **({"parts": idle} if idle else {}))
        expect(page.get_by_role("progressbar")).to_have_count(0)  # the page fetched itself anew
        page.goto(SHELF)
    grids = page.locator(".grid")
    expect(grids).to_have_count(2)
    expect(page.get_by_text("The adapter changes nothing")).to_be_visible()
    found = {"shelf": serious(page)}
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    tops = [box["y"] for box in (grids.nth(n).bounding_box() for n in range(2))]
    assert (tops[0] == tops[1]) == (width >= 768)
    page.goto(draft)
    found["release"] = serious(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    press(page, "Preview again Blond draft")
    expect(page.get_by_role("progressbar")).to_be_visible()
    scene.order("preview_step", fraction=0.4, note="drawing the grid")
    expect(page.get_by_role("progressbar")).to_have_attribute("value", "40")
    found["under way"] = serious(page)
    assert found == {state: [] for state in found}
