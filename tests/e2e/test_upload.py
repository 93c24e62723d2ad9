"""Uploading in a real browser: drop, lose the page or the network half-way, go on."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import numpy as np
from playwright.sync_api import expect

MIB = 2**20
SIZE = 12 * MIB
SLOW = 4 * MIB  # a second
UPLOAD = "/manage/checkpoints/upload/"
# The same bytes each time: a page that was reloaded has to be given its file again.
DROP = """([name, size]) => {
  const bytes = new Uint8Array(size);
  for (let i = 0; i < size; i++) bytes[i] = (i * 7 + (i >> 11)) & 255;
  const carried = new DataTransfer();
  carried.items.add(new File([bytes], name));
  document.querySelector(".drop").dispatchEvent(
    new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true }));
}"""


def contents(size: int) -> bytes:
    i = np.arange(size, dtype=np.int64)
    return ((i * 7 + (i >> 11)) & 255).astype(np.uint8).tobytes()


class Link:
    """The page's network."""

    def __init__(self, page: Any) -> None:
        self.session = page.context.new_cdp_session(page)
        self.session.send("Network.enable")

    def be(self, upload: int = -1, offline: bool = False) -> None:
        """So many bytes a second upwards, or cut off."""
        self.session.send(
            "Network.emulateNetworkConditions",
            {
                "offline": offline,
                "latency": 0,
                "downloadThroughput": -1,
                "uploadThroughput": upload,
            },
        )


def offsets(page: Any) -> list[int]:
    """Collects where each request that carries bytes begins."""
    seen: list[int] = []

    def note(request: Any) -> None:
        if request.method == "PATCH":
            seen.append(int(request.headers["upload-offset"]))

    page.on("request", note)
    return seen


def half_way(row: Any) -> None:
    expect(row).to_have_attribute("data-state", "sending")
    expect(row.locator("progress")).to_have_attribute("value", re.compile(r"^(0\.[3-9]|1$)"))


def test_drop_reload_half_way_and_go_on(scene: Any, keeper: Any) -> None:
    page = keeper(UPLOAD)
    page.on("dialog", lambda dialog: dialog.accept())
    link = Link(page)
    link.be(SLOW)
    page.evaluate(DROP, ["faces.pkl", SIZE])
    row = page.locator(".upload").first
    half_way(row)
    expect(row.locator(".note")).to_have_text(re.compile(r"of 12\.0 MB, .*/s, .* left"))
    page.reload()
    half = page.locator(".half")
    expect(half).to_contain_text("faces.pkl")
    expect(half).to_contain_text("of 12.0\xa0MB")

    begun = offsets(page)
    link.be()
    page.evaluate(DROP, ["faces.pkl", SIZE])
    expect(row).to_have_attribute("data-state", "inspecting")
    expect(half).to_have_count(0)
    assert begun and begun[0] >= 2 * MIB, "it began anew instead of going on"

    scene.order("inspect")
    expect(row).to_have_attribute("data-state", "unsupported")
    expect(row.locator(".note")).to_contain_text("unknown kind")
    row.get_by_role("link", name="See its report").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("faces.pkl")
    expect(page.locator(".facts")).to_contain_text(hashlib.sha256(contents(SIZE)).hexdigest())


def test_pause_and_a_lost_network(scene: Any, keeper: Any) -> None:
    page = keeper(UPLOAD, width=320, expect_refusal=True)
    begun = offsets(page)
    link = Link(page)
    link.be(SLOW)
    page.evaluate(DROP, ["hat.pkl", SIZE])
    row = page.locator(".upload").first
    half_way(row)
    pause = page.get_by_role("button", name="Pause hat.pkl")
    pause.focus()
    page.keyboard.press("Enter")
    expect(row).to_have_attribute("data-state", "paused")
    expect(page.get_by_role("button", name="Resume hat.pkl")).to_be_focused()
    link.be(offline=True)
    page.keyboard.press("Enter")
    expect(row.locator(".note")).to_contain_text("What was sent is kept")
    link.be()  # it goes on by itself
    expect(row).to_have_attribute("data-state", "inspecting")
    assert begun[0] == 0 and begun[-1] > 0


def test_several_files_and_one_that_is_known(scene: Any, keeper: Any, tmp_path: Any) -> None:
    files = []
    for number in range(3):
        (tmp_path / f"file {number} ü.pt").write_bytes(b"not a model %d" % number * 100)
        files.append(tmp_path / f"file {number} ü.pt")
    page = keeper(UPLOAD)
    page.locator("#files").set_input_files(files)
    rows = page.locator(".upload")
    for number in range(3):
        expect(rows.nth(number)).to_have_attribute("data-state", "inspecting")
    begun = offsets(page)
    page.locator("#files").set_input_files(files[:1])
    expect(rows.first.locator(".note")).to_contain_text("It is here already")
    assert begun == []
    states = scene.order("inspect")["states"]
    assert states == ["unsupported"] * 3
    page.goto("/manage/checkpoints/")
    expect(page.locator(".card")).to_have_count(3)
    expect(page.get_by_role("link", name="file 2 ü.pt")).to_be_visible()


def test_given_up(scene: Any, keeper: Any) -> None:
    page = keeper(UPLOAD)
    Link(page).be(SLOW)
    page.evaluate(DROP, ["hat.pkl", SIZE])
    half_way(page.locator(".upload").first)
    page.get_by_role("button", name="Give up hat.pkl").click()
    expect(page.locator(".upload")).to_have_count(0)
    page.goto("/manage/checkpoints/")
    expect(page.get_by_text("Nothing here yet")).to_be_visible()
