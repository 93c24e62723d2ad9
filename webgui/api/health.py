"""For load balancers and operators: is the process alive, is the service ready."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.http import require_safe
from kombu import Connection

from webgui.buffer.levels import level
from webgui.buffer.models import Pool
from webgui.fleet.models import Worker


@require_safe
def alive(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"status": "alive"}, headers={"Cache-Control": "no-store"})


@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    """200 while database and broker answer, else 503; levels and workers are for reading."""
    report: dict[str, Any] = {"database": _database(), "broker": _broker()}
    if report["database"] == "ok":
        report["pools"] = [_pool(pool) for pool in Pool.objects.all()]
        report["workers"] = [_worker(worker) for worker in Worker.objects.all()]
    is_ready = report["database"] == report["broker"] == "ok"
    report = {"status": "ready" if is_ready else "unready"} | report
    status = 200 if is_ready else 503
    return JsonResponse(report, status=status, headers={"Cache-Control": "no-store"})


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return "does not answer"
    return "ok"


def _broker() -> str:
    options = {"socket_timeout": 2, "socket_connect_timeout": 2, "max_retries": 0}
    try:
        with Connection(settings.BROKER_URL, connect_timeout=2, transport_options=options) as link:
            link.ensure_connection(max_retries=1, interval_start=0, timeout=2)
    except Exception:  # whatever the transport raises; its text may hold the password
        return "does not answer"
    return "ok"


def _pool(pool: Pool) -> dict[str, Any]:
    now = level(pool)
    return {
        "pool": pool.slug,
        "available": now.available,
        "under_way": now.under_way,
        "waiting": now.waiting,
        "low_watermark": pool.low_watermark,
        "high_watermark": pool.high_watermark,
        "paused": pool.paused,
        "trouble": bool(pool.trouble),  # the admin site shows its text
    }


def _worker(worker: Worker) -> dict[str, Any]:
    age = (timezone.now() - worker.last_seen).total_seconds()
    return {"worker": worker.name, "alive": worker.alive, "age_seconds": round(max(0.0, age), 1)}
