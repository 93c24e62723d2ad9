"""Previews of releases: asking for one, watching it, calling it off. For administrators alone."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.urls import reverse
from django.utils.cache import patch_cache_control
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from webgui.accounts import audit
from webgui.studio import grid, previews
from webgui.studio.models import Job, Preview

from ..views import FOREVER, problems
from .access import StaffResource


class ReasonSerializer(serializers.Serializer):
    code = serializers.CharField()
    text = serializers.CharField(help_text="What speaks against the release.")
    advice = serializers.CharField(help_text="What to do about it.")


class PreviewImageSerializer(serializers.Serializer):
    seed = serializers.IntegerField()
    score = serializers.FloatField(help_text="The critic's, 0 to 1.")
    safety = serializers.FloatField(help_text="Probability of being unsafe.")
    tags = serializers.ListField(child=serializers.CharField())
    width = serializers.IntegerField()
    height = serializers.IntegerField()
    image = serializers.SerializerMethodField(help_text="The PNG; add ?size=32…512 for a smaller.")

    def get_image(self, image: dict[str, Any]) -> str:
        return reverse("api:preview_image", args=[self.context["preview"].pk, image["seed"]])


class ProgressSerializer(serializers.Serializer):
    fraction = serializers.FloatField(help_text="0 to 1.")
    note = serializers.CharField(help_text="What is at hand, or what it waits for.")


class PreviewSerializer(serializers.Serializer):
    id = serializers.UUIDField(source="pk")
    release = serializers.CharField(source="release.digest", help_text="Its digest.")
    state = serializers.ChoiceField(choices=Job.State.choices, source="job.state")
    verdict = serializers.ChoiceField(choices=Preview.Verdict.choices)
    reasons = ReasonSerializer(many=True, help_text="Empty where the verdict is good.")
    progress = serializers.SerializerMethodField()
    worker = serializers.CharField(source="job.worker", help_text="Empty while it waits for one.")
    attempt = serializers.IntegerField(source="job.attempt", help_text="At most 3.")
    trouble = serializers.CharField(source="job.reason", help_text="Of the last attempt.")
    figures = serializers.DictField(
        help_text="Seconds, memory, benign images, and what each part of the release changes."
    )
    images = PreviewImageSerializer(many=True, help_text="The grid, in its order.")
    asked_by = serializers.CharField(source="job.asked_by")
    created_at = serializers.DateTimeField(source="job.created_at")
    started_at = serializers.DateTimeField(source="job.started_at", allow_null=True)
    settled_at = serializers.DateTimeField(source="job.settled_at", allow_null=True)

    @extend_schema_field(ProgressSerializer)
    def get_progress(self, preview: Preview) -> dict[str, Any]:
        return {"fraction": round(preview.job.fraction, 4), "note": grid.note(preview)}


class PreviewsView(StaffResource):
    @extend_schema(
        operation_id="v1_admin_releases_previews_list",
        summary="A release's previews, the latest first",
        responses={200: PreviewSerializer(many=True), **problems(401, 403, 404)},
    )
    def get(self, request: Request, digest: str) -> Response:
        release = previews.release_of(digest)
        return Response([body(preview) for preview in previews.of(release)])

    @extend_schema(
        summary="Preview a release",
        description=(
            "A worker loads it and draws the same few seeds as for every release. One preview of a "
            "release is made at a time: where one is under way, the answer is that one."
        ),
        request=None,
        responses={202: PreviewSerializer, **problems(401, 403, 404)},
    )
    def post(self, request: Request, digest: str) -> Response:
        preview, _ = previews.ask(previews.release_of(digest), audit.actor_of(request))
        location = reverse("api:preview", args=[preview.pk])
        return Response(body(preview), status=202, headers={"Location": location})


class PreviewView(StaffResource):
    @extend_schema(
        summary="A preview, and how far it is",
        responses={200: PreviewSerializer, **problems(401, 403, 404)},
    )
    def get(self, request: Request, preview_id: UUID) -> Response:
        return Response(body(previews.find(preview_id)))

    @extend_schema(
        summary="Call a preview off",
        description="The worker stops at its next step; what it brings later is thrown away.",
        responses={204: None, **problems(401, 403, 404, 409)},
    )
    def delete(self, request: Request, preview_id: UUID) -> Response:
        previews.cancel(previews.find(preview_id), audit.actor_of(request))
        return Response(status=204)


class PreviewImageView(StaffResource):
    @extend_schema(
        summary="A picture of a preview's grid",
        parameters=[OpenApiParameter("size", int, description="Pixels a side, 32 to 512.")],
        responses={
            (200, "image/png"): OpenApiTypes.BINARY,
            (200, "image/webp"): OpenApiTypes.BINARY,
            **problems(400, 401, 403, 404),
        },
    )
    def get(self, request: Request, preview_id: UUID, seed: int) -> HttpResponse:
        size = request.query_params.get("size")
        picture = grid.picture(previews.find(preview_id), seed, size)
        response = HttpResponse(picture.data, content_type=picture.type)
        patch_cache_control(response, private=True, max_age=FOREVER, immutable=True)
        return response


def body(preview: Preview) -> Any:
    return PreviewSerializer(preview, context={"preview": preview}).data
