"""`/metrics`: for Prometheus, and for nobody else."""

from __future__ import annotations

import hmac

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from webgui.api.errors import problem

from .exposition import ServerCollector

LOOPBACK = ("127.0.0.1", "::1")
FORWARDED = ("X-Forwarded-For", "Forwarded", "X-Real-IP")
registry = CollectorRegistry()
registry.register(ServerCollector())


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    if not _may_read(request):
        detail = (
            "Metrics are read from the server's own host, or with METRICS_TOKEN "
            "as `Authorization: Bearer …`."
        )
        return problem(403, "metrics_closed", "Metrics are not for everybody", detail)
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(registry), content_type=content_type)


def _may_read(request: HttpRequest) -> bool:
    """With a token whoever has it; without one this host alone, and no proxy on it: what a proxy
    passes on may come from anywhere."""
    if token := settings.METRICS_TOKEN:
        given = request.headers.get("Authorization", "")
        return hmac.compare_digest(given.encode(), f"Bearer {token}".encode())
    forwarded = any(name in request.headers for name in FORWARDED)
    return not forwarded and request.META.get("REMOTE_ADDR") in LOOPBACK
