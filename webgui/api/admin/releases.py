"""Releases, and composing them, for administrators."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from webgui.accounts import audit
from webgui.registry import composition, options, parameters, releases, vocabularies
from webgui.registry.models import Release

from ..bodies import demand_json
from ..views import problems
from .access import StaffResource
from .release_serializers import (
    OptionsSerializer,
    ReleaseReportSerializer,
    ReleaseSerializer,
    WishSerializer,
)

CHOICES = [
    OpenApiParameter(slot, str, description="The part chosen for this slot.")
    for slot in composition.SINGLE
]


class ReleasesView(StaffResource):
    @extend_schema(
        operation_id="v1_admin_releases_list",
        summary="Releases, the latest first",
        parameters=[OpenApiParameter("state", str, enum=Release.State.values)],
        responses={200: ReleaseSerializer(many=True), **problems(401, 403)},
    )
    def get(self, request: Request) -> Response:
        rows = Release.objects.prefetch_related("pools", "canary_of")
        if state := request.query_params.get("state"):
            rows = rows.filter(state=state) if state in Release.State.values else rows.none()
        return Response(ReleaseSerializer(rows, many=True).data)

    @extend_schema(
        summary="Compose a release",
        description=(
            "A draft, made of parts that fit; `errors` says of each field what does not. The same "
            "composition is the same release: asked for again, the answer is 200."
        ),
        request=WishSerializer,
        responses={
            200: ReleaseReportSerializer,
            201: ReleaseReportSerializer,
            **problems(400, 401, 403),
        },
    )
    def post(self, request: Request) -> Response:
        demand_json(request)
        asked = WishSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        release, new = composition.compose(asked.wish(), audit.actor_of(request))
        return Response(ReleaseReportSerializer(release).data, status=201 if new else 200)


class ReleaseView(StaffResource):
    @extend_schema(
        summary="A release and its manifest",
        responses={200: ReleaseReportSerializer, **problems(401, 403, 404)},
    )
    def get(self, request: Request, digest: str) -> Response:
        return Response(ReleaseReportSerializer(releases.find(digest)).data)


class ReleaseOptionsView(StaffResource):
    @extend_schema(
        summary="What a release can be composed of, and what fits with what",
        description="Name what is chosen already, and each option says whether it goes with it.",
        parameters=[
            *CHOICES,
            OpenApiParameter("lora", str, many=True, description="Each LoRA that is chosen."),
        ],
        responses={200: OptionsSerializer, **problems(401, 403)},
    )
    def get(self, request: Request) -> Response:
        return Response(OptionsSerializer(_offered(request.query_params)).data)


def _offered(asked: Any) -> dict[str, Any]:
    wish = composition.Wish(
        loras=tuple(composition.LoraWish(key[:64]) for key in asked.getlist("lora")),
        **{slot: asked.get(slot, "")[:64] for slot in composition.SINGLE},
    )
    narrowed = options.narrow(wish)
    return {
        "slots": narrowed.slots,
        "upscaler_needed": narrowed.upscaler_needed,
        "vocabularies": vocabularies.choices(narrowed.chosen.get("prototype")),
        "parameters": list(parameters.PARAMETERS.values()),
        "schedulers": list(parameters.SCHEDULERS),
    }
