"""Walk through a running `make demo` and take the pictures of docs/walkthrough.md.

    python -m tests.walk.weights /tmp/weights
    python -m tests.walk http://127.0.0.1:8000 PASSWORD /tmp/weights docs/images

The demo's pool has the shipped release again afterwards.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import expect, sync_playwright

from tests.e2e.browser import ARGUMENTS, CHROMIUM

from .walk import Walk
from .weights import LORA, PICKLE

POOL, SHIPPED = "Toon heads", "Toon"
PARTS = {
    "prototype": PICKLE,
    "base": SHIPPED,
    "lora": LORA,
    "adapter": SHIPPED,
    "critic": SHIPPED,
    "upscaler": SHIPPED,
}
WEIGHT = "0.4"  # of the LoRA; with 1 the critic keeps 3 of 16, without any LoRA 8 of 8
NUMBERS = {"strength": "0.5", "truncation": "0.9"}
AVATARS = 6
WIDTH, HEIGHT = 1200, 800
LONGEST = 1200  # of a picture's height
WHOLE = ("composed", "report")


def walk(way: Walk, password: str, weights: Path, scratch: Path) -> None:
    way.sign_in("admin", password)
    garbage = scratch / "holiday.pkl"
    garbage.write_bytes(b"\xff\xd8\xff\xe0 a picture, not a model" * 99)
    print("refused:", way.refused(garbage))
    way.page.goto("/manage/checkpoints/")
    way.upload([weights / PICKLE, weights / LORA])
    way.open_report(PICKLE)
    digest = way.compose("Pink heads", PARTS, NUMBERS, WEIGHT, prefix="toon style")
    print("composed:", digest)
    way.preview()
    way.activate(POOL)
    new = way.claim(AVATARS, "claimed")
    print("claimed:", {avatar["release"] for avatar in new})
    assert {avatar["release"] for avatar in new} == {digest}
    way.roll_back(POOL, SHIPPED)
    old = way.claim(AVATARS, "claimed-again")
    print("claimed after the way back:", {avatar["release"] for avatar in old})
    assert digest not in {avatar["release"] for avatar in old}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("password", help="the administrator's, as `make demo` printed it")
    parser.add_argument("weights", type=Path, help="the folder with the two files")
    parser.add_argument("images", type=Path, help="where the pictures go, as walk-….webp")
    asked = parser.parse_args()
    expect.set_options(timeout=30_000)
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        page = browser.new_page(
            base_url=asked.url,
            color_scheme="light",
            viewport={"width": WIDTH, "height": HEIGHT},
            reduced_motion="reduce",
        )
        page.set_default_timeout(60_000)
        walk(Walk(page, Path(scratch)), asked.password, asked.weights, Path(scratch))
        browser.close()
        for shot in Path(scratch).glob("*.png"):
            keep(shot, asked.images / f"walk-{shot.stem}.webp")


def keep(shot: Path, target: Path) -> None:
    """The picture without the foot of a long page, and small."""
    picture = Image.open(shot).convert("RGB")
    height = picture.height if shot.stem in WHOLE else min(picture.height, LONGEST)
    picture.crop((0, 0, picture.width, height)).save(target, quality=75, method=6)


if __name__ == "__main__":
    main()
