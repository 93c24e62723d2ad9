"""Administrators' pages about pools: all of them, one of them with what can be done, a new one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.contrib.admin.views.decorators import staff_member_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from webgui.accounts import audit
from webgui.buffer import activation, canary, provision, standing
from webgui.buffer.models import OldStock, Pool
from webgui.buffer.problems import BadPool, NoSuchPool
from webgui.problems import Problem
from webgui.registry import releases
from webgui.registry.models import Release

from . import history

ENTRIES = 50
NUMBERS = ("low_watermark", "high_watermark", "batch_size")
Posted = Mapping[str, str]


@never_cache
@staff_member_required
@require_safe
def shelf(request: HttpRequest) -> HttpResponse:
    context = {
        "page": "pools",
        "cards": standing.standings(standing.pools()),
        "wanted": _wanted(request),
    }
    return render(request, "pages/pools.html", context)


@never_cache
@staff_member_required
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    trouble = None
    if request.method == "POST":
        try:
            return redirect("pool", _create(request).slug)
        except Problem as problem:
            trouble = problem
    context = {
        "page": "pools",
        "trouble": trouble,
        "choices": _choices(),
        "wanted": request.POST.get("release") or request.GET.get("release", ""),
        "filled": request.POST,
        "plain": Pool(),
    }
    return render(
        request, "pages/pool_new.html", context, status=trouble.status if trouble else 200
    )


@never_cache
@staff_member_required
@require_http_methods(["GET", "HEAD", "POST"])
def pool(request: HttpRequest, slug: str) -> HttpResponse:
    found = _find(slug)
    if request.method != "POST":
        return _page(request, found)
    try:
        act = ACTS.get(request.POST.get("act", ""))
        if act is None:
            raise Problem("The form does not say what to do.")
        act(found, request.POST, audit.actor_of(request))
    except Problem as problem:
        return _page(request, _find(slug), problem)
    # With a fragment of its own: the browser would keep the form's, which opens that form again.
    return redirect(reverse("pool", args=[slug]) + "#main")


@never_cache
@staff_member_required
@require_safe
def now(request: HttpRequest, slug: str) -> HttpResponse:
    """The part of the page that changes by itself, for its script."""
    return render(request, "parts/pool.html", {"standing": standing.standing(_find(slug))})


def _page(request: HttpRequest, found: Pool, trouble: Problem | None = None) -> HttpResponse:
    context = {
        "page": "pools",
        "standing": standing.standing(found),
        "pool": found,
        "trouble": trouble,
        "choices": [each for each in _choices() if each != found.release],
        "wanted": _wanted(request),
        "share": canary.SHARE,
        "entries": history.lines(audit.of(found)[:ENTRIES]),
        "old_stock": history.OLD_STOCK,
    }
    return render(request, "pages/pool.html", context, status=trouble.status if trouble else 200)


def _activate(found: Pool, posted: Posted, actor: audit.Actor) -> None:
    release = releases.find(posted.get("release", ""))
    activation.activate(found, release, actor, _old_stock(posted), seen=_seen(posted))


def _roll_back(found: Pool, posted: Posted, actor: audit.Actor) -> None:
    activation.roll_back(found, actor, _old_stock(posted), seen=_seen(posted))


def _try(found: Pool, posted: Posted, actor: audit.Actor) -> None:
    release = releases.find(posted.get("release", ""))
    share = _number(posted, "share")
    canary.start(found, release, actor, share, seen=_seen(posted))


def _promote(found: Pool, posted: Posted, actor: audit.Actor) -> None:
    release = canary.current(found)
    activation.activate(found, release, actor, _old_stock(posted), seen=_seen(posted))


def _stop(found: Pool, posted: Posted, actor: audit.Actor) -> None:
    canary.stop(found, actor, _old_stock(posted), seen=_seen(posted))


def _edit(found: Pool, posted: Posted, actor: audit.Actor) -> None:
    numbers = {name: _number(posted, name) for name in NUMBERS}
    provision.edit_pool(found, actor, name=posted.get("name", ""), **numbers)


def _pause(found: Pool, posted: Posted, actor: audit.Actor) -> None:
    provision.edit_pool(found, actor, paused=posted.get("act") == "pause")


ACTS: dict[str, Callable[[Pool, Posted, audit.Actor], None]] = {
    "activate": _activate,
    "roll_back": _roll_back,
    "try": _try,
    "promote": _promote,
    "stop": _stop,
    "edit": _edit,
    "pause": _pause,
    "resume": _pause,
}


def _create(request: HttpRequest) -> Pool:
    posted = request.POST
    release = releases.find(posted.get("release", ""))
    numbers: dict[str, Any] = {name: _number(posted, name) for name in NUMBERS}
    name, slug = posted.get("name", ""), posted.get("slug", "")
    return provision.create_pool(slug, release, audit.actor_of(request), name, **numbers)


def _seen(posted: Posted) -> int:
    """The version that the form was made from: whoever decided by an older one looks again."""
    return _number(posted, "version")


def _old_stock(posted: Posted) -> str:
    choice = posted.get("old_stock", "")
    if choice not in OldStock.values:
        raise BadPool("Say what becomes of the old images.", field="old_stock")
    return choice


def _number(posted: Posted, name: str) -> int:
    text = posted.get(name, "").strip()
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        words = name.replace("_", " ")
        raise BadPool(f"The {words} must be a whole number, 0 or more.", field=name)
    return int(text)


def _choices() -> list[Release]:
    """What a pool may be given, the latest first."""
    return list(Release.objects.exclude(state=Release.State.DRAFT))


def _wanted(request: HttpRequest) -> Release | None:
    """The release that a link from its page names."""
    digest = request.GET.get("release", "")
    return next((each for each in _choices() if each.digest == digest), None)


def _find(slug: str) -> Pool:
    try:
        return provision.find(slug)
    except NoSuchPool:
        raise Http404 from None
