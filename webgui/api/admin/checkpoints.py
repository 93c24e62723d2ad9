"""Checkpoints and their reports, for administrators."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from webgui.accounts import audit
from webgui.registry import checkpoints
from webgui.registry.models import Checkpoint

from ..bodies import demand_json
from ..views import problems
from .access import StaffResource
from .serializers import CheckpointReportSerializer, CheckpointSerializer, InspectSerializer


class CheckpointsView(StaffResource):
    @extend_schema(
        operation_id="v1_admin_checkpoints_list",
        summary="Checkpoints, the latest first",
        parameters=[
            OpenApiParameter("sha256", str, description="Only the file with this digest."),
            OpenApiParameter("state", str, enum=Checkpoint.State.values),
        ],
        responses={200: CheckpointSerializer(many=True), **problems(401, 403)},
    )
    def get(self, request: Request) -> Response:
        rows = Checkpoint.objects.select_related("uploaded_by")
        for name in ("sha256", "state"):
            if value := request.query_params.get(name):
                rows = rows.filter(**{name: value})
        return Response(_serialized(CheckpointSerializer, list(rows), many=True))


class CheckpointView(StaffResource):
    @extend_schema(
        summary="A checkpoint and what inspection found",
        responses={200: CheckpointReportSerializer, **problems(401, 403, 404)},
    )
    def get(self, request: Request, checkpoint_id: UUID) -> Response:
        return Response(_report(checkpoints.find(checkpoint_id)))

    @extend_schema(
        summary="Delete a checkpoint",
        description="One that a release is made of, or that is being inspected, stays.",
        responses={204: None, **problems(401, 403, 404, 409)},
    )
    def delete(self, request: Request, checkpoint_id: UUID) -> Response:
        checkpoints.delete(checkpoints.find(checkpoint_id), audit.actor_of(request))
        return Response(status=204)


class InspectView(StaffResource):
    @extend_schema(
        summary="Inspect a refused checkpoint again",
        description="After an update of the server, or with a word on what it is.",
        request=InspectSerializer,
        responses={202: CheckpointReportSerializer, **problems(400, 401, 403, 404, 409)},
    )
    def post(self, request: Request, checkpoint_id: UUID) -> Response:
        demand_json(request)
        wanted = InspectSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        checkpoint = checkpoints.find(checkpoint_id)
        kind = wanted.validated_data["kind"]
        checkpoint = checkpoints.inspect_again(checkpoint, audit.actor_of(request), kind)
        return Response(_report(checkpoint), status=202)


def _report(checkpoint: Checkpoint) -> Any:
    return _serialized(CheckpointReportSerializer, checkpoint)


def _serialized(serializer: Any, rows: Any, many: bool = False) -> Any:
    context = {"used_by": checkpoints.used_by(rows if many else [rows])}
    return serializer(rows, many=many, context=context).data
