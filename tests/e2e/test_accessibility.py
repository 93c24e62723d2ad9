"""axe finds nothing serious in any state or on any page, narrow and dark, wide and light."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.sync_api import expect

AXE = next(Path(axe_playwright_python.__file__).parent.rglob("axe.min.js"))


def serious(page: Any) -> list[str]:
    page.add_script_tag(path=str(AXE))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{violation['id']}: {node['target']} {node['failureSummary']}"
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize(("width", "scheme"), [(320, "dark"), (1440, "light")])
def test_no_serious_violation(scene: Any, visit: Any, width: int, scheme: str) -> None:
    scene.order("pool", slug="second", name="Second style")
    scene.deliver(["pink hair", "smiling"])
    # axe is put into the page, which the page's own policy would rightly refuse.
    page = visit(
        "/",
        width=width,
        color_scheme=scheme,
        bypass_csp=True,
        expect_refusal=True,
        reduced_motion="reduce",
    )
    page.get_by_text("Choose traits").click()
    found = {"idle": serious(page)}
    page.get_by_role("button", name="Generate").click()
    expect(page.locator(".booth")).to_have_attribute("data-state", "ready")
    page.get_by_text("Smaller sizes").click()
    found["ready"] = serious(page)
    page.get_by_role("button", name="Generate").click()
    expect(page.get_by_role("alert")).to_be_visible()
    found["trouble"] = serious(page)
    address = page.locator(".strip a").first.get_attribute("href")
    scene.order("beat")
    page.get_by_role("button", name="Generate").click()
    expect(page.locator("[data-place]")).to_have_text("You are next")
    found["waiting"] = serious(page)
    for path in (address, "/about/", "/nowhere/"):
        page.goto(path)
        found[path] = serious(page)
    assert found == {state: [] for state in found}


@pytest.mark.parametrize(("width", "scheme"), [(320, "dark"), (1440, "light")])
def test_no_serious_violation_for_administrators(
    scene: Any, visit: Any, width: int, scheme: str
) -> None:
    session = scene.order("staff")
    cookie = {"name": session["cookie"], "value": session["value"], "path": "/"}
    page = visit(
        "/manage/checkpoints/",
        width=width,
        color_scheme=scheme,
        bypass_csp=True,
        storage_state={"cookies": [{**cookie, "domain": "127.0.0.1"}], "origins": []},
    )
    found = {"empty": serious(page)}
    good = scene.order("checkpoint", name="toon.pkl", size=5, state="ready", kind="stylegan2")
    bad = scene.order(
        "checkpoint", name="x" * 200, size=5, state="unsupported", reason="This is a PNG picture."
    )
    for name, path in {
        "shelf": "/manage/checkpoints/",
        "ready": f"/manage/checkpoints/{good['id']}/",
        "unsupported": f"/manage/checkpoints/{bad['id']}/",
        "upload": "/manage/checkpoints/upload/",
    }.items():
        page.goto(path)
        found[name] = serious(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
    digest = scene.order("stock")["digest"]
    for name, path in {
        "releases": "/manage/releases/",
        "release": f"/manage/releases/{digest}/",
        "compose": f"/manage/releases/new/?from={digest}",
        "pools": "/manage/pools/",
        "pool": f"/manage/pools/toon/?release={digest}#give",
        "new pool": "/manage/pools/new/",
    }.items():
        page.goto(path)
        found[name] = serious(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
    page.goto("/manage/checkpoints/upload/")
    page.locator("#files").set_input_files(
        [{"name": "a.pt", "mimeType": "", "buffer": b"junk" * 9}]
    )
    expect(page.locator(".upload")).to_have_attribute("data-state", "inspecting")
    found["uploaded"] = serious(page)
    assert found == {state: [] for state in found}
