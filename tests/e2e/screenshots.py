"""Take the screenshots of a running server: three widths, light and dark.

    python -m tests.e2e.screenshots http://127.0.0.1:8000 docs/screenshots

Claims one avatar a picture set (six in all), as a visitor would. If the buffer is empty it also
shoots the line, and then waits for the avatar.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from playwright.sync_api import expect, sync_playwright

from .browser import ARGUMENTS, CHROMIUM

WIDTHS = {320: 640, 768: 1024, 1440: 900}
SCHEMES = ("light", "dark")
SETTLED = re.compile("ready|waiting|trouble")
LONGEST_WAIT = 180_000  # ms for an avatar


class Album:
    """One visitor's pictures at one width in one scheme."""

    def __init__(self, page: Any, folder: Path, suffix: str) -> None:
        self.page, self.folder, self.suffix = page, folder, suffix

    def shoot(self, name: str) -> None:
        # Motion has ended and lazy pictures have come before the shutter opens.
        self.page.evaluate("document.fonts.ready.then(() => true)")
        self.page.wait_for_timeout(400)
        path = self.folder / f"{name}-{self.suffix}.png"
        self.page.screenshot(path=path, full_page=True)
        print(path)

    def take(self) -> None:
        page = self.page
        page.goto("/")
        self.shoot("idle")
        if page.locator("#traits").is_visible():
            page.locator("#traits summary").click()
            self.shoot("traits")
            page.locator("#traits summary").click()
        if self.claim():
            self.shoot("result")
            page.goto(page.locator(".strip a").first.get_attribute("href"))
            self.shoot("avatar")
        page.goto("/about/")
        self.shoot("about")
        page.goto("/nowhere/")
        self.shoot("not-found")

    def claim(self) -> bool:
        """Whether the claim ended with an avatar on the page."""
        booth = self.page.locator(".booth")
        self.page.locator("[type=submit]").click()
        for _ in range(3):  # through at most waiting and one end
            expect(booth).to_have_attribute("data-state", SETTLED, timeout=30_000)
            state = booth.get_attribute("data-state")
            if state == "ready":
                return True
            self.shoot(str(state))
            if state == "trouble":
                return False
            expect(booth).not_to_have_attribute("data-state", "waiting", timeout=LONGEST_WAIT)
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("url", help="address of the running server")
    parser.add_argument("folder", type=Path, help="where the PNG files go")
    parser.add_argument("--widths", type=int, nargs="+", choices=WIDTHS, default=list(WIDTHS))
    parser.add_argument("--schemes", nargs="+", choices=SCHEMES, default=SCHEMES)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        for scheme in arguments.schemes:
            for width in arguments.widths:
                page = browser.new_page(
                    viewport={"width": width, "height": WIDTHS[width]},
                    color_scheme=scheme,
                    base_url=arguments.url,
                )
                Album(page, arguments.folder, f"{width}-{scheme}").take()
                page.close()
        browser.close()


if __name__ == "__main__":
    main()
