"""Resumable uploads by tus 1.0: core, creation, checksum, expiration, termination."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from webgui.registry import receiving, uploads
from webgui.registry.models import Upload

from ..views import problems
from . import tus
from .access import StaffResource

METHODS = ("HEAD", "PATCH", "DELETE")


def told(name: str, description: str) -> OpenApiParameter:
    return OpenApiParameter(name, str, OpenApiParameter.HEADER, description=description)


class TusResource(StaffResource):
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """For clients whose network lets nothing but GET and POST through."""
        wanted = request.headers.get("X-HTTP-Method-Override", "").upper()
        if request.method == "POST" and wanted in METHODS:
            request.method = wanted
        return super().dispatch(request, *args, **kwargs)

    def get_permissions(self) -> Any:
        return [] if self.request.method == "OPTIONS" else super().get_permissions()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if request.method != "OPTIONS":
            tus.need_version(request)

    @extend_schema(exclude=True)
    def options(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        return Response(status=204, headers=tus.capabilities())

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        final = super().finalize_response(request, response, *args, **kwargs)
        final["Tus-Resumable"] = tus.VERSION
        if final.status_code == 412:
            final["Tus-Version"] = tus.VERSION
        return final


class UploadsView(TusResource):
    @extend_schema(
        summary="Begin an upload",
        description=(
            "tus 1.0's creation. With the file's `sha256` in the metadata, one that is here "
            "already is not sent again: the answer names it in `Checkpoint`, and the upload "
            "stands at its end. One that is half here is gone on with. Either way the answer's "
            "`Upload-Offset` tells where to begin."
        ),
        request=None,
        parameters=[
            told("Tus-Resumable", "1.0.0"),
            told("Upload-Length", "Bytes of the whole file."),
            told("Upload-Metadata", "`filename` and `sha256`, their values in base64."),
        ],
        responses={
            201: OpenApiResponse(description="`Location` is the upload's address."),
            **problems(400, 401, 403, 412, 413, 507),
        },
    )
    def post(self, request: Request) -> Response:
        upload = uploads.begin(tus.announcement(request), request.user)
        upload = uploads.finish(upload)  # of 0 bytes there is nothing to wait for
        location = reverse("api:upload", args=[upload.pk])
        return Response(status=201, headers={"Location": location, **_standing(upload)})


class UploadView(TusResource):
    def head(self, request: Request, upload_id: UUID) -> Response:
        upload = uploads.finish(uploads.find(upload_id))
        headers = {"Upload-Length": str(upload.length), **_standing(upload)}
        if upload.metadata:
            headers["Upload-Metadata"] = upload.metadata
        return Response(status=200, headers=headers)

    @extend_schema(
        summary="Go on with an upload",
        description=(
            "The bytes from `Upload-Offset` on. What arrives stays even where the connection "
            "breaks; with `Upload-Checksum` the body is taken whole or not at all. The answer to "
            "the last bytes names the file's checkpoint in `Checkpoint`. HEAD tells in "
            "`Upload-Offset` where the upload stands."
        ),
        request={tus.BODY_TYPE: OpenApiTypes.BINARY},
        parameters=[
            told("Tus-Resumable", "1.0.0"),
            told("Upload-Offset", "Where these bytes belong."),
            told("Upload-Checksum", "`sha1` or `sha256` of these bytes, a space, base64."),
        ],
        responses={
            204: OpenApiResponse(description="`Upload-Offset` is where the upload stands."),
            **problems(400, 401, 403, 404, 409, 412, 413, 415, 460, 507),
        },
    )
    def patch(self, request: Request, upload_id: UUID) -> Response:
        if request.content_type != tus.BODY_TYPE:
            raise tus.WrongBodyType(f"The body's Content-Type must be {tus.BODY_TYPE}.")
        offset, size = tus.number(request, "Upload-Offset"), tus.number(request, "Content-Length")
        checksum = tus.checksum(request)
        upload = uploads.find(upload_id)
        if offset != upload.offset:
            raise receiving.wrong_offset(upload)
        if not upload.whole:
            _limit_silence(request._request)
            receiving.receive(upload, offset, size, request._request.read, checksum)
        return Response(status=204, headers=_standing(uploads.finish(uploads.find(upload_id))))

    @extend_schema(
        summary="Give an upload up",
        request=None,
        parameters=[told("Tus-Resumable", "1.0.0")],
        responses={204: None, **problems(401, 403, 404, 412)},
    )
    def delete(self, request: Request, upload_id: UUID) -> Response:
        uploads.end(uploads.find(upload_id))
        return Response(status=204)


def _standing(upload: Upload) -> dict[str, str]:
    headers = tus.standing(upload)
    if upload.whole:
        headers["Checkpoint"] = reverse("api:checkpoint", args=[upload.checkpoint_id])
    return headers


def _limit_silence(request: HttpRequest) -> None:
    """A connection that died without a word would hold this thread for good. Other servers than
    gunicorn, and proxies in front, have limits of their own."""
    if connection := request.META.get("gunicorn.socket"):
        connection.settimeout(settings.UPLOAD_SILENCE_SECONDS)
