"""The pages that say no look like the others and stand on their own."""

from __future__ import annotations

import pytest
from django.template.loader import render_to_string
from django.test import Client
from pytest_django.asserts import assertContains

from webgui.pages import words


@pytest.mark.django_db
def test_not_found(client: Client) -> None:
    page = client.get("/nowhere/")
    assertContains(page, "Nobody sits here.", status_code=404)
    assertContains(page, 'href="/"', status_code=404)


@pytest.mark.parametrize("name", ["400", "403", "403_csrf", "404", "500"])
def test_renders_without_a_request(name: str) -> None:
    html = render_to_string(f"{name}.html")
    assert "<h1>" in html and "Back to the booth" in html and "css/base.css" in html


@pytest.mark.django_db
def test_broken_page_is_ours(client: Client, home: object, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object) -> None:
        raise RuntimeError("no such luck")

    monkeypatch.setattr("webgui.pages.chooser.choices", explode)
    client.raise_request_exception = False
    page = client.get("/")
    assertContains(page, "That one is on us.", status_code=500)


@pytest.mark.parametrize(
    ("seconds", "said"), [(1, "1 second."), (30, "30 seconds."), (300, "5 minutes.")]
)
def test_time_to_try_again_is_said_in_words(seconds: int, said: str) -> None:
    assert words.notice("throttled", "", "", seconds)["what"].endswith(f"Try again in {said}")


def test_unknown_problems_keep_their_own_words() -> None:
    notice = words.notice("brand_new", "A title", "A sentence.")
    assert notice == {"title": "A title", "what": "A sentence."}
