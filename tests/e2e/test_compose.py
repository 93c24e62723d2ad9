"""Composing a release in a real browser: what is chosen narrows the rest, and says why."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import expect

NEW = "/manage/releases/new/"


def option(page: Any, slot: str, name: str) -> Any:
    slot_of = page.locator(f"[data-slot={slot}]")
    return slot_of.locator(".option").filter(has=page.get_by_text(name, exact=True))


def pick(page: Any, slot: str, name: str) -> Any:
    found = option(page, slot, name).locator("input").first
    found.check()
    return found


def test_choosing_narrows_the_rest_and_a_release_comes_of_it(scene: Any, keeper: Any) -> None:
    scene.order("stock")
    page = keeper(NEW)
    news = page.locator("#summary-news")
    expect(news).to_contain_text("Still to choose: prototype, base, critic.")
    page.get_by_role("radio", name=re.compile("^faces-128")).focus()
    page.keyboard.press("Space")
    adapter = option(page, "adapter", "Toon")
    expect(adapter.locator("input")).to_be_disabled()
    expect(adapter.locator(".why")).to_have_text(
        "The adapter Toon was trained for 10 w's of 128 numbers; the prototype faces-128 has 12 "
        "of 64."
    )
    pick(page, "base", "Toon")
    pixels = option(page, "lora", "pixel-art.safetensors")
    expect(pixels.locator("[type=checkbox]")).to_be_disabled()
    expect(pixels.locator(".why")).to_contain_text("768 text channels; the base Toon reads 192")
    expect(
        option(page, "upscaler", "None: as large as the base draws").locator(".why")
    ).to_have_text("Toon draws 128 pixels a side, and avatars have 512: it needs an upscaler.")
    # Another base frees the one and takes the other.
    pick(page, "base", "anime-v1.safetensors")
    expect(pixels.locator("[type=checkbox]")).to_be_enabled()
    water = option(page, "lora", "watercolour.safetensors")
    expect(water.locator("[type=checkbox]")).to_be_disabled()
    pick(page, "base", "Toon")
    expect(water.locator("[type=checkbox]")).to_be_enabled()
    expect(water).to_contain_text("Trigger words: watercolour")
    pick(page, "lora", "watercolour.safetensors")
    page.get_by_label("Weight of watercolour.safetensors").fill("0.8")
    expect(page.locator(".summary dl")).to_contain_text("watercolour.safetensors × 0.8")
    expect(page.get_by_label("Adapter scale")).to_be_disabled()
    pick(page, "critic", "Toon")
    pick(page, "upscaler", "Toon")
    expect(news).to_contain_text("All parts fit.")
    page.get_by_label("Title").fill("Watercolour faces")
    page.get_by_label("Steps", exact=True).fill("12")
    page.get_by_role("button", name="Compose").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("Watercolour faces")
    expect(page.locator(".makings")).to_contain_text("LoRA, weight 0.8")
    expect(page.locator(".facts").first).to_contain_text("12")
    page.get_by_role("link", name="faces-128").click()
    expect(page.locator(".facts")).to_contain_text("Watercolour faces")
    page.goto("/manage/releases/")
    expect(page.locator("[data-release]")).to_have_count(3)


def test_a_clone_is_changed_and_what_is_refused_is_kept(scene: Any, keeper: Any) -> None:
    digest = scene.order("stock")["digest"]
    page = keeper(f"/manage/releases/{digest}/", width=320, expect_refusal=True)
    page.get_by_role("link", name="Clone to change").click()
    expect(page.get_by_label("Title")).to_have_value("Toon")
    expect(page.get_by_label("Adapter scale")).to_be_enabled()
    expect(option(page, "prototype", "faces-128").locator("input")).to_be_disabled()
    # Without the adapter any StyleGAN2 will do.
    pick(page, "adapter", "None: the start alone")
    expect(option(page, "prototype", "faces-128").locator("input")).to_be_enabled()
    pick(page, "prototype", "faces-128")
    pick(page, "upscaler", "Toon")
    page.get_by_label("Title").fill("Toon of other faces")
    page.locator("#strength").evaluate("el => { el.removeAttribute('max'); el.value = 3; }")
    page.get_by_role("button", name="Compose").click()
    expect(page.get_by_role("alert")).to_contain_text("It must be a number from 0 to 1.")
    expect(page.get_by_label("Title")).to_have_value("Toon of other faces")
    expect(option(page, "prototype", "faces-128").locator("input")).to_be_checked()
    page.locator("#strength").fill("0.7")
    page.get_by_role("button", name="Compose").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Toon of other faces")
    expect(page.locator(".makings > li")).to_have_count(4)
