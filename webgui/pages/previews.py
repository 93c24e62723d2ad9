"""What the buttons of a preview do: ask for one, call it off. Both lead back to the release."""

from __future__ import annotations

from uuid import UUID

from django.contrib.admin.views.decorators import staff_member_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from webgui.accounts import audit
from webgui.registry import releases
from webgui.registry.models import Release
from webgui.registry.problems import NoSuchRelease
from webgui.studio import previews
from webgui.studio.problems import NoSuchPreview, NotUnderWay


@never_cache
@staff_member_required
@require_POST
def ask(request: HttpRequest, digest: str) -> HttpResponse:
    try:
        release = releases.find(digest)
    except NoSuchRelease:
        raise Http404 from None
    previews.ask(release, audit.actor_of(request))
    return _back(release)


@never_cache
@staff_member_required
@require_POST
def cancel(request: HttpRequest, preview_id: UUID) -> HttpResponse:
    try:
        preview = previews.find(preview_id)
        previews.cancel(preview, audit.actor_of(request))
    except NoSuchPreview:
        raise Http404 from None
    except NotUnderWay:
        pass  # the page shows how it ended
    return _back(preview.release)


def _back(release: Release) -> HttpResponse:
    return redirect(reverse("release", args=[release.digest]) + "#preview")
