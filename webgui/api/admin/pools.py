"""Pools, for administrators: what they generate with, canary, rollback, watermarks."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from webgui.accounts import audit
from webgui.buffer import activation, canary, provision, standing
from webgui.buffer.models import Pool
from webgui.registry import releases

from ..bodies import demand_json
from ..views import problems
from .access import StaffResource
from .pool_serializers import (
    ActivateSerializer,
    EntrySerializer,
    PoolCreateSerializer,
    PoolEditSerializer,
    PoolStandingSerializer,
    PromoteSerializer,
    RollBackSerializer,
    StartCanarySerializer,
)

ENTRIES = 100
STANDING = {200: PoolStandingSerializer}
VERSION = OpenApiParameter("version", int, description="Of the pool, as it was decided from.")


class PoolsView(StaffResource):
    @extend_schema(
        operation_id="v1_admin_pools_list",
        summary="Pools and how they stand",
        responses={200: PoolStandingSerializer(many=True), **problems(401, 403)},
    )
    def get(self, request: Request) -> Response:
        rows = standing.standings(standing.pools())
        return Response(PoolStandingSerializer(rows, many=True).data)

    @extend_schema(
        summary="Open a pool",
        request=PoolCreateSerializer,
        responses={201: PoolStandingSerializer, **problems(400, 401, 403, 404, 409)},
    )
    def post(self, request: Request) -> Response:
        told = _read(PoolCreateSerializer, request)
        release = releases.find(told.pop("release"))
        slug = told.pop("slug")
        pool = provision.create_pool(slug, release, audit.actor_of(request), **told)
        return _answer(pool, 201)


class PoolView(StaffResource):
    @extend_schema(
        summary="A pool and how it stands",
        responses={**STANDING, **problems(401, 403, 404)},
    )
    def get(self, request: Request, slug: str) -> Response:
        return _answer(provision.find(slug))

    @extend_schema(
        summary="Change a pool's name, watermarks or batch size; pause it",
        request=PoolEditSerializer,
        responses={**STANDING, **problems(400, 401, 403, 404)},
    )
    def patch(self, request: Request, slug: str) -> Response:
        told = _read(PoolEditSerializer, request)
        return _answer(provision.edit_pool(provision.find(slug), audit.actor_of(request), **told))


class ActivationsView(StaffResource):
    @extend_schema(
        operation_id="v1_admin_pool_activations_list",
        summary=f"The pool's history: its latest {ENTRIES} entries in the audit log",
        responses={200: EntrySerializer(many=True), **problems(401, 403, 404)},
    )
    def get(self, request: Request, slug: str) -> Response:
        entries = audit.of(provision.find(slug))[:ENTRIES]
        return Response(EntrySerializer(entries, many=True).data)

    @extend_schema(
        summary="Give the pool a release, from its next order on",
        description="The canary's release is promoted that way too.",
        request=ActivateSerializer,
        responses={201: PoolStandingSerializer, **problems(400, 401, 403, 404, 409)},
    )
    def post(self, request: Request, slug: str) -> Response:
        told = _read(ActivateSerializer, request)
        pool, release = provision.find(slug), releases.find(told["release"])
        actor, seen = audit.actor_of(request), told.get("version")
        pool = activation.activate(pool, release, actor, told["old_stock"], seen=seen)
        return _answer(pool, 201)


class RollBackView(StaffResource):
    @extend_schema(
        summary="Back to the release before",
        description="Undoes the latest activation that was not undone yet.",
        request=RollBackSerializer,
        responses={**STANDING, **problems(400, 401, 403, 404, 409)},
    )
    def post(self, request: Request, slug: str) -> Response:
        told = _read(RollBackSerializer, request)
        pool, actor = provision.find(slug), audit.actor_of(request)
        seen = told.get("version")
        return _answer(activation.roll_back(pool, actor, told["old_stock"], seen=seen))


class CanaryView(StaffResource):
    @extend_schema(
        summary="Try a release on a share of the orders",
        description="Sent again: another share for it, and another chance after failures.",
        request=StartCanarySerializer,
        responses={**STANDING, **problems(400, 401, 403, 404, 409)},
    )
    def put(self, request: Request, slug: str) -> Response:
        told = _read(StartCanarySerializer, request)
        pool, release = provision.find(slug), releases.find(told["release"])
        actor, seen = audit.actor_of(request), told.get("version")
        return _answer(canary.start(pool, release, actor, told["share"], seen=seen))

    @extend_schema(
        summary="Stop trying the canary",
        parameters=[
            OpenApiParameter("old_stock", str, enum=["discard", "mix"], default="discard"),
            VERSION,
        ],
        responses={**STANDING, **problems(400, 401, 403, 404, 409)},
    )
    def delete(self, request: Request, slug: str) -> Response:
        asked = RollBackSerializer(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        told = asked.validated_data
        pool, actor = provision.find(slug), audit.actor_of(request)
        return _answer(canary.stop(pool, actor, told["old_stock"], seen=told.get("version")))


class PromoteView(StaffResource):
    @extend_schema(
        summary="Give the pool its canary's release",
        request=PromoteSerializer,
        responses={**STANDING, **problems(400, 401, 403, 404, 409)},
    )
    def post(self, request: Request, slug: str) -> Response:
        told = _read(PromoteSerializer, request)
        pool, actor = provision.find(slug), audit.actor_of(request)
        release, seen = canary.current(pool), told.get("version")
        return _answer(activation.activate(pool, release, actor, told["old_stock"], seen=seen))


def _read(serializer: Any, request: Request) -> dict[str, Any]:
    demand_json(request)
    told = serializer(data=request.data)
    told.is_valid(raise_exception=True)
    return dict(told.validated_data)


def _answer(pool: Pool, status: int = 200) -> Response:
    shown = PoolStandingSerializer(standing.standing(provision.find(pool.slug)))
    return Response(shown.data, status=status)
