"""The audit log, for administrators: who did what to which thing, when."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from webgui.accounts.models import AuditEntry

from ..views import problems
from .access import StaffResource
from .pool_serializers import EntrySerializer

MOST = 1000
BY = ("target", "act", "actor")


class AskSerializer(serializers.Serializer):
    target = serializers.CharField(max_length=255, required=False)
    act = serializers.CharField(max_length=60, required=False)
    actor = serializers.CharField(max_length=150, required=False)
    before = serializers.IntegerField(min_value=1, max_value=2**63 - 1, required=False)
    limit = serializers.IntegerField(min_value=1, max_value=MOST, default=100)


class AuditView(StaffResource):
    @extend_schema(
        operation_id="v1_admin_audit_list",
        summary="Administrators' acts, the latest first",
        parameters=[
            OpenApiParameter("target", str, description="Such as `pool/toon`, `worker/gpu-1`."),
            OpenApiParameter("act", str, description="Such as `pool.activated`."),
            OpenApiParameter("actor", str, description="A user name, or `command line`."),
            OpenApiParameter("before", int, description="Only entries older than this `id`."),
            OpenApiParameter("limit", int, description=f"At most so many, up to {MOST}."),
        ],
        responses={200: EntrySerializer(many=True), **problems(400, 401, 403)},
    )
    def get(self, request: Request) -> Response:
        asked = AskSerializer(data=request.query_params)
        asked.is_valid(raise_exception=True)
        told: dict[str, Any] = asked.validated_data
        rows = AuditEntry.objects.filter(**{name: told[name] for name in BY if name in told})
        if "before" in told:
            rows = rows.filter(pk__lt=told["before"])
        return Response(EntrySerializer(rows.order_by("-pk")[: told["limit"]], many=True).data)
