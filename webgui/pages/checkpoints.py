"""Administrators' pages about checkpoints: the shelf, uploading, one checkpoint's report."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.admin.views.decorators import staff_member_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from webgui.accounts import audit
from webgui.problems import Problem
from webgui.registry import checkpoints, parts
from webgui.registry.models import Checkpoint, Upload
from webgui.registry.problems import NoSuchCheckpoint

from . import findings

State = Checkpoint.State


@never_cache
@staff_member_required
@require_safe
def shelf(request: HttpRequest) -> HttpResponse:
    rows = list(Checkpoint.objects.select_related("uploaded_by").prefetch_related("uploads"))
    used = checkpoints.used_by(rows)
    cards = [findings.card(row, used[row.pk]) for row in rows]
    return render(request, "pages/checkpoints.html", {"page": "checkpoints", "cards": cards})


@never_cache
@staff_member_required
@require_safe
def upload(request: HttpRequest) -> HttpResponse:
    half_done = Upload.objects.filter(checkpoint__state=State.UPLOADING)
    context = {
        "page": "checkpoints",
        "half_done": half_done.select_related("checkpoint").order_by("-touched_at"),
        "words": findings.WORDS,
    }
    return render(request, "pages/upload.html", context)


@never_cache
@staff_member_required
@require_http_methods(["GET", "HEAD", "POST"])
def report(request: HttpRequest, checkpoint_id: UUID) -> HttpResponse:
    try:
        checkpoint = checkpoints.find(checkpoint_id)
    except NoSuchCheckpoint:
        raise Http404 from None
    if request.method != "POST":
        return _report(request, checkpoint)
    actor = audit.actor_of(request)
    try:
        if request.POST.get("act") == "delete":
            checkpoints.delete(checkpoint, actor)
            return redirect("checkpoints")
        checkpoints.inspect_again(checkpoint, actor, request.POST.get("kind", "")[:40])
    except Problem as problem:
        return _report(request, checkpoints.find(checkpoint_id), problem)
    return redirect("checkpoint", checkpoint_id)


def _report(
    request: HttpRequest, checkpoint: Checkpoint, trouble: Problem | None = None
) -> HttpResponse:
    context: dict[str, Any] = {
        "page": "checkpoints",
        "card": findings.card(checkpoint, checkpoints.used_by([checkpoint])[checkpoint.pk]),
        "checkpoint": checkpoint,
        "facts": findings.facts(checkpoint.report),
        "accepted": checkpoint.report.get("accepted", []),
        "again": checkpoint.state in checkpoints.LOOKED_AT_AGAIN,
        "kinds": findings.KINDS,
        "trouble": trouble,
        "composable": _slot(checkpoint),
    }
    return render(
        request, "pages/checkpoint.html", context, status=trouble.status if trouble else 200
    )


def _slot(checkpoint: Checkpoint) -> str:
    """Which place it takes in a release, if it can take one."""
    if checkpoint.state != State.READY:
        return ""
    return next((part.slot for part in parts.of_checkpoint(checkpoint)), "")
