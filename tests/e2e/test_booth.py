"""The main job in a real browser: a click, a picture of one's own, kept."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import expect


def generate(page: Any) -> Any:
    """Click, and wait for the picture; returns its locator."""
    page.get_by_role("button", name="Generate").click()
    portrait = page.get_by_role("img", name="Cartoon avatar").first
    expect(page.locator(".booth")).to_have_attribute("data-state", "ready")
    return portrait


def downloaded(page: Any, name: str) -> tuple[str, Image.Image]:
    with page.expect_download() as download:
        page.get_by_role("link", name=name).click()
    path = download.value.path()
    return download.value.suggested_filename, Image.open(io.BytesIO(path.read_bytes()))


@pytest.mark.parametrize("width", [1280, 320])
def test_click_see_download_reload_find(scene: Any, visit: Any, width: int) -> None:
    scene.deliver(["pink hair", "smiling"])
    page = visit("/", width=width)
    expect(page.locator("#portrait")).to_be_hidden()

    portrait = generate(page)
    expect(portrait).to_have_attribute("alt", "Cartoon avatar: pink hair, smiling")
    assert portrait.evaluate("img => [img.naturalWidth, img.naturalHeight]") == [512, 512]
    expect(page.locator(".traits li")).to_have_text(["pink hair", "smiling"])

    name, png = downloaded(page, "Download PNG")
    assert name.endswith("-512.png") and png.format == "PNG" and png.size == (512, 512)
    name, webp = downloaded(page, "Download WebP")
    assert name.endswith("-512.webp") and webp.format == "WEBP" and webp.size == (512, 512)
    page.get_by_text("Smaller sizes").click()
    name, small = downloaded(page, "PNG, 64 pixels")
    assert name.endswith("-64.png") and small.size == (64, 64)

    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overflow) == 0
    page.reload()
    kept = page.locator(".strip img")
    expect(kept).to_have_count(1)
    expect(kept).to_have_attribute("alt", "Cartoon avatar: pink hair, smiling")
    kept.scroll_into_view_if_needed()
    kept.evaluate("img => img.decode()")
    assert kept.evaluate("img => img.naturalWidth") == 256


@pytest.mark.parametrize("width", [320, 1440])
def test_many_traits_push_nothing_out_of_place(scene: Any, visit: Any, width: int) -> None:
    scene.order("beat")
    page = visit("/", width=width)
    page.get_by_text("Choose traits").click()
    for label, tag in (("Hair colour", "pink hair"), ("Mouth", "smiling")):
        page.get_by_label(label).select_option(tag)
    page.locator(".chosen").evaluate("el => el.textContent = 'pink hair, '.repeat(20)")
    page.get_by_text("Choose traits").click()
    right_edges = "['.desk form > *', '.cabin'].map(s => Math.max(...Array.from("
    right_edges += "document.querySelectorAll(s), el => el.getBoundingClientRect().right)))"
    desk, cabin = page.evaluate(right_edges)
    assert desk <= width and (width == 320 or desk <= cabin - 500)
    assert page.locator("summary .chosen").evaluate("el => el.clientHeight") < 40


def test_each_click_brings_another_and_the_strip_grows(scene: Any, visit: Any) -> None:
    scene.deliver(["pink hair"], ["black hair"], ["blond hair"])
    page = visit("/")
    seen = set()
    for number in (1, 2, 3):
        generate(page)
        expect(page.locator(".strip img")).to_have_count(number)
        expect(page.locator("[type=submit]")).to_have_text("Generate another")
        seen.add(page.locator("#portrait").get_attribute("src"))
    assert len(seen) == 3 and scene.available() == 0
    strip = page.locator(".strip img").evaluate_all("all => all.map(img => img.alt)")
    page.reload()
    assert page.locator(".strip img").evaluate_all("all => all.map(img => img.alt)") == strip


def test_another_visitor_has_another_strip(scene: Any, visit: Any) -> None:
    scene.deliver(["pink hair"])
    mine = visit("/")
    generate(mine)
    address = mine.locator(".strip a").get_attribute("href")
    other = visit("/")
    expect(other.locator(".strip img")).to_have_count(0)
    other.goto(address)
    expect(other.get_by_role("heading", level=1)).to_have_text("One of a kind.")
    expect(other.locator(".strip")).to_have_count(0)
    mine.goto(address)
    expect(mine.get_by_role("heading", level=1)).to_have_text("All yours.")


def test_copied_link_opens_the_avatars_page(scene: Any, visit: Any) -> None:
    scene.deliver(["black hair", "sad"])
    page = visit("/", permissions=["clipboard-read", "clipboard-write"])
    generate(page)
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_text("Link copied.")).to_be_visible()
    link = page.evaluate("navigator.clipboard.readText()")
    page.goto(link)
    portrait = page.get_by_role("img", name="Cartoon avatar: black hair, sad").first
    assert portrait.evaluate("img => img.naturalWidth") == 512
    og_image = page.locator("meta[property='og:image']").get_attribute("content")
    answer = page.request.get(og_image)
    assert answer.ok and answer.headers["content-type"] == "image/png"
    _, png = downloaded(page, "Download PNG")
    assert png.size == (512, 512)


def test_trait_filter(scene: Any, visit: Any) -> None:
    scene.deliver(*[["black hair", "sad"]] * 5, ["pink hair", "smiling"])
    page = visit("/")
    page.get_by_text("Choose traits").click()
    page.get_by_label("hair colour").select_option("pink hair")
    page.get_by_label("mouth").select_option("smiling")
    expect(page.locator("#traits summary")).to_contain_text("pink hair, smiling")
    generate(page)
    expect(page.locator(".traits li")).to_have_text(["pink hair", "smiling"])
    page.get_by_role("button", name="Back to any").click()
    expect(page.locator("#traits summary")).to_contain_text("any")
    page.get_by_role("button", name="Generate").click()
    expect(page.locator(".traits li")).to_have_text(["black hair", "sad"])


def test_traits_that_do_not_go_together_cannot_be_chosen(scene: Any, visit: Any) -> None:
    page = visit("/")
    page.get_by_text("Choose traits").click()
    hair, mouth = page.get_by_label("hair colour"), page.get_by_label("mouth")
    blond = hair.locator("option", has_text="blond hair")
    sad = mouth.locator("option", has_text="sad")
    expect(blond).to_be_enabled()
    mouth.select_option("sad")  # the bench release draws no sad blonds
    expect(blond).to_be_disabled()
    mouth.select_option("any")
    hair.select_option("blond hair")
    expect(sad).to_be_disabled()
    page.get_by_role("button", name="Back to any").click()
    expect(blond).to_be_enabled()
    expect(sad).to_be_enabled()


def test_style_chooser_decides_the_pool_and_its_traits(scene: Any, visit: Any) -> None:
    scene.order("pool", slug="second", name="Second style")
    scene.deliver(["blond hair"], pool="second")
    scene.deliver(["black hair"])
    page = visit("/")
    page.get_by_text("Choose traits").click()
    expect(page.locator(".filters:visible")).to_have_attribute("data-pool", "toon")
    page.get_by_role("radio", name="Second style").check()
    expect(page.locator(".filters:visible")).to_have_attribute("data-pool", "second")
    generate(page)
    expect(page.locator(".traits li")).to_have_text(["blond hair"])


def test_by_keyboard_alone(scene: Any, visit: Any) -> None:
    scene.deliver(["pink hair"], ["black hair"])
    page = visit("/")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    button = page.locator("[type=submit]")
    expect(button).to_be_focused()
    outline = button.evaluate("el => getComputedStyle(el).outlineStyle")
    assert outline == "solid", "the focus must be seen"
    page.keyboard.press("Enter")
    expect(page.locator(".strip img")).to_have_count(1)
    expect(page.get_by_role("status").first).to_contain_text("Cartoon avatar: ")
    expect(button).to_be_focused()  # so Enter goes on
    page.keyboard.press("Enter")
    expect(page.locator(".strip img")).to_have_count(2)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Download PNG")).to_be_focused()


@pytest.mark.parametrize(("width", "height"), [(320, 568), (844, 390), (768, 1024), (1280, 720)])
def test_button_is_seen_without_scrolling(visit: Any, width: int, height: int) -> None:
    page = visit("/", width=width, height=height)
    box = page.locator("[type=submit]").bounding_box()
    assert box["y"] + box["height"] <= height
    assert box["height"] >= 44  # a finger's width


def test_picture_takes_its_place_without_moving_anything(scene: Any, visit: Any) -> None:
    scene.deliver(["pink hair"])
    page = visit("/")
    places = """['.window', '[type=submit]'].map(
        one => document.querySelector(one).getBoundingClientRect().toJSON())"""
    before = page.evaluate(places)
    generate(page)
    assert page.evaluate(places) == before


def test_reduced_motion_shows_the_picture_at_once(scene: Any, visit: Any) -> None:
    scene.deliver(["pink hair"])
    page = visit("/", reduced_motion="reduce")
    generate(page)
    running = "document.getAnimations().filter(a => a.playState === 'running').length"
    assert page.evaluate(running) == 0
