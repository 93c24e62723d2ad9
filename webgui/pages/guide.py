"""The operator's guide, `docs/operating.md`, as a page that alarms link to."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path

from django.contrib.admin.views.decorators import staff_member_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import slugify
from django.views.decorators.http import require_safe
from markdown_it import MarkdownIt
from markdown_it.token import Token

GUIDE = Path(__file__).resolve().parents[1] / "docs" / "operating.md"


@staff_member_required
@require_safe
def guide(request: HttpRequest) -> HttpResponse:
    return render(request, "pages/guide.html", {"page": "fleet", "guide": rendered()})


def _keep_links_of_this_page(token: Token) -> None:
    """The other documents lie in the repository and are no pages: their names stay as words."""
    kept, away = [], False
    for part in token.children or []:
        if part.type == "link_open":
            away = not str(part.attrGet("href")).startswith(("#", "http"))
        if not (away and part.type in ("link_open", "link_close")):
            kept.append(part)
    if token.children is not None:
        token.children = kept


@cache
def rendered() -> SafeString:
    """Its headings are anchors: #buffer-low."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(GUIDE.read_text())
    for opening, inside in pairwise(tokens):
        if opening.type == "heading_open":
            opening.attrSet("id", slugify(inside.content))
        _keep_links_of_this_page(inside)
    # Our own file, with HTML in it switched off.
    return mark_safe(markdown.renderer.render(tokens, markdown.options, {}))  # noqa: S308  # nosec B703
