"""The pages a visitor sees. All work without JavaScript; the booth's script only saves reloads."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from webgui.accounts.allowance import spend_claim
from webgui.accounts.visitor import known_visitor, visitor_of
from webgui.buffer import claim as buffer
from webgui.buffer import progress, tickets
from webgui.buffer.models import Avatar, Ticket
from webgui.problems import Problem

from . import chooser, credits, words
from .portrait import SMALLER_SIZES, Portrait

STRIP_LENGTH = 12
SHORTEST_STRIP = 6  # frames shown, blank ones included
REFRESH_SECONDS = 3  # of the ticket's page without JavaScript


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def home(request: HttpRequest) -> HttpResponse:
    return _claim(request) if request.method == "POST" else _booth(request)


@never_cache
@require_safe
def ticket(request: HttpRequest, ticket_id: UUID) -> HttpResponse:
    found = tickets.poll(ticket_id)
    if found is None:
        raise Http404
    if found.avatar is not None:
        return redirect(found.avatar)
    if found.state == Ticket.State.EXPIRED:
        return _booth(request, status=410, trouble=words.NOTICES["ticket_expired"])
    return _booth(request, ticket=_in_line(found))


@never_cache
@require_safe
def avatar(request: HttpRequest, avatar_id: UUID) -> HttpResponse:
    """The page of one avatar that somebody was given; what is still on the shelf has none."""
    given = Avatar.objects.select_related("pool", "release").filter(
        pk=avatar_id, state=Avatar.State.CLAIMED
    )
    if (found := given.first()) is None:
        raise Http404
    visitor = known_visitor(request)
    mine = visitor is not None and found.claimed_by == visitor
    context = {
        "avatar": Portrait.of(found, request),
        "sizes": SMALLER_SIZES,
        "mine": mine,
        "strip": _strip(request, visitor) if mine and visitor else [],
    }
    return render(request, "pages/avatar.html", context)


@require_safe
def about(request: HttpRequest) -> HttpResponse:
    releases = credits.of_releases()
    context = {"page": "about", "releases": releases, "credits": credits.beside(releases)}
    return render(request, "pages/about.html", context)


def _claim(request: HttpRequest) -> HttpResponse:
    """The form without JavaScript: post, redirect, get."""
    allowance = spend_claim(request)
    if not allowance.granted:
        trouble = words.notice("throttled", "", "", allowance.reset)
        return _booth(request, status=429, headers=allowance.headers(), trouble=trouble)
    pool, tags = chooser.read(request.POST)
    try:
        answer = buffer.claim(pool, tags, client=visitor_of(request))
    except Problem as problem:
        after = problem.retry_after
        headers = {"Retry-After": str(after)} if after else {}
        trouble = words.notice(problem.code, problem.title, problem.detail, after)
        return _booth(request, status=problem.status, headers=headers, trouble=trouble)
    if answer.ticket is not None:
        return redirect("ticket", answer.ticket.pk)
    return redirect(answer.avatar)


def _booth(
    request: HttpRequest,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
    ticket: dict[str, Any] | None = None,
    trouble: words.Notice | None = None,
) -> HttpResponse:
    pools = chooser.choices(request.POST)
    strip = _strip(request, visitor_of(request))
    context = {
        "state": "waiting" if ticket else "trouble" if trouble else "idle",
        "ticket": ticket,
        "trouble": trouble,
        "notices": words.NOTICES,
        "pools": pools,
        "rules": chooser.rules(pools),
        "any_traits": any(pool.groups for pool in pools),
        "traits_chosen": ", ".join(chooser.chosen_tags(pools)),
        "sizes": SMALLER_SIZES,
        "strip": strip,
        "blanks": range(SHORTEST_STRIP - len(strip)),
    }
    response = render(request, "pages/booth.html", context, status=status)
    for name, value in (headers or {}).items():
        response[name] = value
    return response


def _strip(request: HttpRequest, visitor: str) -> list[Portrait]:
    return [Portrait.of(own, request) for own in buffer.avatars_of(visitor, STRIP_LENGTH)]


def _in_line(found: Ticket) -> dict[str, Any]:
    outlook = progress.outlook(found)
    wait = outlook.eta_seconds
    return {
        "place": words.place_in_line(outlook.position),
        "wait": "" if wait is None else words.expected_wait(wait),
        "progress": None if outlook.progress is None else f"{outlook.progress:.3f}",
        "note": outlook.note,
        "refresh": REFRESH_SECONDS,
        "url": reverse("api:ticket", args=[found.pk]),
    }
