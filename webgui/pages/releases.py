"""Administrators' pages about releases: all of them, one of them, composing one."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.views.decorators import staff_member_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from webgui.accounts import audit
from webgui.registry import composition, options, parameters, releases, vocabularies
from webgui.registry.composition import Wish
from webgui.registry.models import Release
from webgui.registry.problems import DoesNotFit, NoSuchRelease

from . import compositions, credits, grids, makings

STATES = {
    Release.State.DRAFT: ("Draft", "busy"),
    Release.State.PREVIEWED: ("Previewed", "good"),
    Release.State.ACTIVE: ("Active", "good"),
    Release.State.RETIRED: ("Retired", "past"),
}


@never_cache
@staff_member_required
@require_safe
def shelf(request: HttpRequest) -> HttpResponse:
    rows = list(Release.objects.prefetch_related("pools", "canary_of"))
    shown = grids.of(rows)
    cards = [_card(row, shown[row.pk]) for row in rows]
    return render(request, "pages/releases.html", {"page": "releases", "cards": cards})


@never_cache
@staff_member_required
@require_safe
def release(request: HttpRequest, digest: str) -> HttpResponse:
    found = _find(digest)
    context = {
        "page": "releases",
        **_card(found, grids.of([found])[found.pk]),
        "parts": makings.of(found),
        "numbers": makings.numbers(found),
        "credits": credits.of(found),
        "provenance": makings.provenance(found),
        "measured": makings.measured(found),
    }
    return render(request, "pages/release.html", context)


@never_cache
@staff_member_required
@require_http_methods(["GET", "HEAD", "POST"])
def compose(request: HttpRequest) -> HttpResponse:
    """The form. What is chosen narrows the rest, by the script or by sending it with GET."""
    if request.method == "POST":
        wish = compositions.read(request.POST)
        try:
            made, _ = composition.compose(wish, audit.actor_of(request))
        except DoesNotFit as problem:
            return _form(request, wish, problem)
        return redirect("release", made.digest)
    if source := request.GET.get("from"):
        return _form(request, composition.wish_of(_find(source)), source=source)
    return _form(request, compositions.read(request.GET))


def _form(
    request: HttpRequest, wish: Wish, trouble: DoesNotFit | None = None, source: str = ""
) -> HttpResponse:
    narrowed = options.narrow(wish)
    context: dict[str, Any] = {
        "page": "releases",
        "wish": wish,
        "trouble": trouble,
        "told": compositions.told(trouble.faults) if trouble else [],
        "source": source,
        "slots": compositions.slots(narrowed, trouble.faults if trouble else {}),
        "fields": compositions.fields(wish, trouble.faults if trouble else {}),
        "vocabularies": vocabularies.choices(narrowed.chosen.get("prototype")),
        "schedulers": parameters.SCHEDULERS,
        "scheduler": wish.params.get("scheduler", parameters.SCHEDULERS[0]),
        "faults": compositions.other_faults(trouble.faults if trouble else {}),
    }
    return render(request, "pages/compose.html", context, status=trouble.status if trouble else 200)


def _card(found: Release, preview: grids.Shown) -> dict[str, Any]:
    word, mood = STATES[Release.State(found.state)]
    return {
        "release": found,
        "state": word,
        "mood": mood,
        "made_of": makings.summary(found),
        "preview": preview,
        "pools": sorted(found.pools.all(), key=lambda pool: pool.name),
        "tried_by": sorted(found.canary_of.all(), key=lambda pool: pool.name),
    }


def _find(digest: str) -> Release:
    try:
        return releases.find(digest)
    except NoSuchRelease:
        raise Http404 from None
