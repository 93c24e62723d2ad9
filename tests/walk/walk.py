"""An administrator's way in a browser, by keyboard: two files become a release, visitors get its
avatars, and it is taken back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

INSPECTION, PREVIEW, AVATAR = 120_000, 600_000, 300_000  # ms, the longest waits


@dataclass
class Walk:
    """One browser page of a running server; pictures of the way are left in `shots`."""

    page: Any
    shots: Path | None = None

    def sign_in(self, user: str, password: str) -> None:
        self.page.goto("/manage/checkpoints/")
        self.page.locator("#id_username").fill(user)
        self.page.locator("#id_password").fill(password)
        self.page.keyboard.press("Enter")
        self.arrive("Checkpoints")

    def upload(self, files: Sequence[Path]) -> None:
        """Until each is inspected and ready."""
        self.press("link", "Upload")
        self.page.locator("#files").set_input_files(files)
        for file in files:
            row = self.page.locator(".upload").filter(has_text=file.name)
            expect(row).to_have_attribute("data-state", "ready", timeout=INSPECTION)
        self.shoot("uploaded")

    def refused(self, file: Path) -> str:
        """Upload something that is of no use; what is said of it."""
        self.page.goto("/manage/checkpoints/upload/")
        self.page.locator("#files").set_input_files(file)
        row = self.page.locator(".upload").filter(has_text=file.name)
        expect(row).to_have_attribute("data-state", re.compile("unsupp|corr|unsafe|incomp"))
        self.press("link", "See its report", row)
        self.arrive(file.name)
        self.shoot("refused")
        return str(self.page.locator(".verdict").inner_text())

    def open_report(self, name: str) -> None:
        self.page.goto("/manage/checkpoints/")
        self.press("link", name)
        self.arrive(name)
        self.shoot("report")

    def compose(
        self,
        title: str,
        parts: dict[str, str],
        numbers: dict[str, str],
        weight: str,
        prefix: str = "",
    ) -> str:
        """From a checkpoint's report; the new release's digest. `parts` names one for each slot."""
        self.press("link", "Compose a release with it")
        self.arrive("Compose a release")
        self.page.get_by_label("Title").fill(title)
        for slot, name in parts.items():
            option = self.page.locator(f"[data-slot={slot}] .option")
            choice = option.filter(has=self.page.get_by_text(name, exact=True))
            field = choice.locator("input").first
            expect(field).to_be_enabled()
            field.focus()
            self.page.keyboard.press("Space")
            expect(field).to_be_checked()
        self.page.get_by_label(f"Weight of {parts['lora']}").fill(weight)
        for name, value in numbers.items():
            self.page.locator(f"[name='params.{name}']").fill(value)
        self.page.get_by_label("Before every caption").fill(prefix)
        expect(self.page.locator("#summary-news")).to_contain_text("All parts fit.")
        self.shoot("composed")
        self.press("button", "Compose")
        self.arrive(title)
        return str(self.page.url.rstrip("/").rpartition("/")[2])

    def preview(self) -> None:
        """Of the release whose page this is, until it is found good."""
        self.press("button", re.compile("^Preview"))
        verdict = self.page.locator(".verdict")
        percent = self.page.locator(".running .percent")
        moving = percent.filter(has_not_text=re.compile(r"^\s*0 %"))
        # A tiny release's preview is over before its bar was seen to move.
        expect(moving.or_(verdict).first).to_be_visible(timeout=PREVIEW)
        if moving.count():
            self.shoot("previewing")
        expect(verdict).to_be_visible(timeout=PREVIEW)
        expect(verdict).to_contain_text("Good preview")
        self.shoot("previewed")

    def activate(self, pool: str) -> None:
        """Give the pool this page's release; images of the one before are discarded."""
        title = self.page.get_by_role("heading", level=1).inner_text()
        self.press("link", re.compile("^Give it to a pool"))
        self.press("link", pool)
        self.arrive(pool)
        form = self.page.locator("#give")
        discard = form.get_by_role("radio", name="Not at all: discard them")
        discard.focus()
        self.page.keyboard.press("Space")
        self.shoot("activating")
        self.press("button", "Activate", form)
        expect(self.page.locator(".lead").first).to_contain_text(title)
        self.shoot("activated")

    def roll_back(self, pool: str, before: str) -> None:
        self.page.goto("/manage/pools/")
        self.press("link", pool)
        self.arrive(pool)
        self.page.get_by_text(f"Roll back to {before}").focus()
        self.page.keyboard.press("Enter")
        self.press("button", "Roll back", self.page.locator("#back"))
        expect(self.page.locator(".lead").first).to_contain_text(before)
        self.shoot("rolled-back")

    def claim(self, count: int, shot: str = "") -> list[dict[str, Any]]:
        """Avatars as a visitor gets them, one click each; what the API says of them."""
        found: list[dict[str, Any]] = []
        self.page.goto("/")
        booth = self.page.locator(".booth")
        for _ in range(count):
            self.press("button", re.compile("^Generate"))
            strip = self.page.locator(".strip a").first
            before = found[-1]["page"] if found else self._newest()
            if before:
                expect(strip).not_to_have_attribute("href", before, timeout=AVATAR)
            expect(booth).to_have_attribute("data-state", "ready", timeout=AVATAR)
            page = str(strip.get_attribute("href"))
            answer = self.page.request.get(f"/api/v1{page}")
            assert answer.ok, answer.text()
            found.append({**answer.json(), "page": page})
        if shot:
            self.shoot(shot)
        return found

    def _newest(self) -> str:
        links = self.page.locator(".strip a").all()
        return str(links[0].get_attribute("href")) if links else ""

    def press(self, role: str, name: Any, within: Any = None) -> None:
        """A link or button, by keyboard."""
        whole = {} if isinstance(name, re.Pattern) else {"exact": True}
        found = (within or self.page).get_by_role(role, name=name, **whole)
        found.focus()
        self.page.keyboard.press("Enter")

    def arrive(self, heading: str) -> None:
        """At the page of this heading."""
        expect(self.page.get_by_role("heading", level=1)).to_have_text(heading)

    def shoot(self, name: str) -> None:
        if self.shots is None:
            return
        self.page.evaluate("document.fonts.ready.then(() => true)")
        self.page.evaluate("document.activeElement.blur()")
        for image in self.page.locator("main img").all():
            image.evaluate("el => { el.loading = 'eager'; return el.decode().catch(() => {}); }")
        self.page.wait_for_timeout(400)
        self.page.screenshot(path=self.shots / f"{name}.png", full_page=True)
