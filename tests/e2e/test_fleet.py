"""The fleet page in a real browser: it keeps itself fresh, charts, switches, and fits."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from .test_accessibility import serious

FLEET = "/manage/fleet/"


@pytest.fixture
def keeper(scene: Any, visit: Any) -> Any:
    """Open a page as an administrator."""

    def open_page(path: str = FLEET, **options: Any) -> Any:
        session = scene.order("staff")
        cookie = {"name": session["cookie"], "value": session["value"]}
        cookie |= {"path": "/", "domain": "127.0.0.1"}
        return visit(path, storage_state={"cookies": [cookie], "origins": []}, **options)

    return open_page


def test_charts_are_drawn_and_news_comes_by_itself(scene: Any, keeper: Any) -> None:
    assert scene.order("fleet") == {"alarms": 2}
    page = keeper()
    charts = page.locator("[data-chart] canvas")
    expect(charts).to_have_count(2)
    assert all(box["width"] > 300 for box in (each.bounding_box() for each in charts.all()))
    expect(page.locator("[data-alarm]")).to_have_count(2)
    page.get_by_text("The charts in figures").click()
    assert scene.order("quarantine") == {"raised": 1}
    expect(page.locator("[data-alarm]")).to_have_count(3)
    expect(page.get_by_role("status")).to_have_text("New alarm: Deliveries in quarantine")
    # What was opened is still open, and the keyboard is where it was.
    expect(page.locator("#figures table")).to_be_visible()
    assert page.evaluate("document.activeElement.textContent") == "The charts in figures"
    page.get_by_role("link", name=re.compile("What to do about quarantine")).click()
    expect(page.locator("h2:target")).to_have_text("Deliveries in quarantine")
    expect(page.locator("h2:target")).to_be_in_viewport()


def test_a_worker_is_drained_and_put_back_by_keyboard(scene: Any, keeper: Any) -> None:
    scene.order("fleet")
    page = keeper()
    card = page.locator("[data-worker=lyon-1]")
    reason = page.get_by_label("Reason for switching lyon-1")
    reason.focus()
    page.keyboard.type("A new fan")
    page.keyboard.press("Enter")  # switches nothing
    page.keyboard.press("ArrowLeft")
    # What is being typed outlives the part of the page it is typed into.
    with page.expect_response(re.compile("/fleet/now/")):
        pass
    page.keyboard.type("ce m")
    expect(reason).to_be_focused()
    expect(reason).to_have_value("A new face mn")
    page.get_by_role("button", name="Drain lyon-1").focus()
    page.keyboard.press("Enter")
    expect(card.locator(".badge")).to_have_text("draining")
    expect(card).to_contain_text("A new face mn")
    assert scene.order("duty", name="lyon-1") == {"duty": "draining"}
    page.get_by_role("button", name="Back to work lyon-1").focus()
    page.keyboard.press("Space")
    expect(card.locator(".badge")).to_have_text("working, busy")
    assert scene.order("duty", name="lyon-1") == {"duty": "working"}


def test_the_charts_tell_the_latest_figures_by_themselves(scene: Any, keeper: Any) -> None:
    scene.order("fleet")
    page = keeper()
    page.clock.install()
    page.reload()
    rates = page.locator("[data-chart=rates] .u-legend")
    expect(rates).to_contain_text(re.compile(r"new:?\s*[\d.]+\s*claims:?\s*[\d.]+"))
    level = page.locator("[data-chart=levels] .u-legend")
    now_low = re.compile(r"toon:?\s*7(?!\d)")
    expect(level).not_to_contain_text(now_low)
    scene.order("sample", available=7)
    page.clock.fast_forward(16_000)
    expect(level).to_contain_text(now_low)


def test_the_day_is_chosen_and_stays_chosen(scene: Any, keeper: Any) -> None:
    scene.order("fleet", minutes=120)
    page = keeper()
    page.get_by_role("link", name="Last day").click()
    expect(page).to_have_url(re.compile("span=day"))
    expect(page.locator(".spans [aria-current]")).to_have_text("Last day")
    expect(page.locator("[data-chart] canvas")).to_have_count(2)


@pytest.mark.parametrize(
    ("width", "scheme"),
    [(320, "dark"), (768, "dark"), (1440, "light")],
)
def test_it_fits_and_axe_is_content(scene: Any, keeper: Any, width: int, scheme: str) -> None:
    scene.order("fleet")
    page = keeper(width=width, color_scheme=scheme, bypass_csp=True)
    expect(page.locator("[data-chart] canvas")).to_have_count(2)
    page.get_by_text("The charts in figures").click()
    for path in (FLEET, "/manage/guide/"):
        if path != FLEET:
            page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert serious(page) == []
        if folder := os.environ.get("SHOTS"):
            name = path.strip("/").replace("/", "-")
            page.screenshot(path=Path(folder) / f"{name}-{width}-{scheme}.png", full_page=True)
