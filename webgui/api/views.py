"""REST v1. Open to anyone: no account, no CSRF token; claims are counted per client."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.utils.cache import patch_cache_control
from django.utils.http import parse_etags
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from webgui.accounts.visitor import client_of
from webgui.buffer import renditions, shown, tickets
from webgui.buffer.claim import Claim, claim
from webgui.buffer.levels import level
from webgui.buffer.models import Avatar, Pool, Ticket
from webgui.buffer.problems import NotFound
from webgui.buffer.progress import outlook
from webgui.buffer.wishes import accepted_values

from . import sending
from .bodies import demand_json
from .errors import PROBLEM_TYPE, BadClaim
from .permissions import OwnPagesAndPrograms
from .serializers import (
    AvatarSerializer,
    ClaimSerializer,
    PoolSerializer,
    ProblemSerializer,
    TicketSerializer,
    avatar_form,
)
from .throttles import ClaimThrottle

FOREVER = 365 * 24 * 3600


def problems(*statuses: int) -> dict[Any, OpenApiResponse]:
    """For the document: these answers are RFC 9457 problems."""
    answer = OpenApiResponse(ProblemSerializer, description="A problem; see its `code`.")
    return {(status, PROBLEM_TYPE): answer for status in statuses}


class Resource(APIView):
    """Answers are not for caches, and carry the client's allowance where one was counted."""

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        final = super().finalize_response(request, response, *args, **kwargs)
        if not final.has_header("Cache-Control"):
            final["Cache-Control"] = "no-store"
        if allowance := getattr(request._request, "allowance", None):
            for name, value in allowance.headers().items():
                final[name] = value
        return final


class AvatarsView(Resource):
    permission_classes = [OwnPagesAndPrograms]
    throttle_classes = [ClaimThrottle]

    @extend_schema(
        summary="Claim an avatar",
        description=(
            "One random available avatar, for you alone. When the buffer is empty the answer is "
            "a ticket: ask for it again until it is served."
        ),
        request=ClaimSerializer,
        parameters=[
            OpenApiParameter(
                "Idempotency-Key",
                str,
                OpenApiParameter.HEADER,
                description="Good for 24 hours: the same key with the same body gives the same "
                "avatar, so a claim may be tried again without losing one.",
            )
        ],
        responses={
            201: AvatarSerializer,
            202: TicketSerializer,
            **problems(400, 403, 409, 413, 415, 429, 503),
        },
    )
    def post(self, request: Request) -> Response:
        demand_json(request)
        wish = _read(request.data)
        answer = claim(
            wish.get("pool"),
            wish.get("tags") or (),
            client=client_of(request._request),
            idempotency_key=request.headers.get("Idempotency-Key"),
        )
        return _answer(request, answer)


# To make a serializer takes longer than to read a claim with it; reading changes nothing in it.
CLAIM = ClaimSerializer()


def _read(data: Any) -> dict[str, Any]:
    try:
        return dict(CLAIM.run_validation(data))
    except ValidationError:
        body = ClaimSerializer(data=data)
        body.is_valid()
        raise BadClaim(body.errors, accepted_values(data)) from None


class AvatarView(Resource):
    @extend_schema(summary="A claimed avatar", responses={200: AvatarSerializer, **problems(404)})
    def get(self, request: Request, avatar_id: UUID) -> Response:
        return Response(avatar_body(request, find_avatar(avatar_id)))


class TicketView(Resource):
    @extend_schema(
        summary="A ticket and how it stands",
        description="Asking keeps the ticket alive; one that nobody asks for expires.",
        responses={200: TicketSerializer, **problems(404)},
    )
    def get(self, request: Request, ticket_id: UUID) -> Response:
        ticket = tickets.poll(ticket_id)
        if ticket is None:
            raise NotFound("There is no such ticket.")
        return Response(ticket_body(request, ticket))


class PoolsView(Resource):
    @extend_schema(
        summary="The pools, their levels and tags", responses={200: PoolSerializer(many=True)}
    )
    def get(self, request: Request) -> Response:
        pools = list(Pool.objects.select_related("release"))
        for pool in pools:
            now = level(pool)
            vars(pool).update(available=now.available, under_way=now.under_way, waiting=now.waiting)
        return Response(PoolSerializer(pools, many=True).data)


class ImageView(Resource):
    @extend_schema(
        summary="An avatar's picture",
        description="Never changes, so it may be kept for ever.",
        parameters=[
            OpenApiParameter("size", int, description="Pixels a side, 32 to 512 (default 512)."),
            OpenApiParameter("format", str, enum=list(renditions.FORMATS)),
        ],
        responses={
            (200, "image/png"): OpenApiTypes.BINARY,
            (200, "image/webp"): OpenApiTypes.BINARY,
            304: None,
            **problems(400, 404),
        },
    )
    def get(self, request: Request, avatar_id: UUID) -> HttpResponse:
        size = renditions.read_size(request.query_params.get("size"))
        format = renditions.read_format(request.query_params.get("format"))
        avatar = find_avatar(avatar_id)
        etag = f'"{avatar.digest}-{size}-{format}"'
        response: HttpResponse
        if _has(request._request, etag):
            response = HttpResponseNotModified()
        else:
            response = sending.picture(avatar, size, format)
            name = f"avatar-{str(avatar.pk)[:8]}-{size}.{format}"
            response["Content-Disposition"] = f'inline; filename="{name}"'
        response["ETag"] = etag
        patch_cache_control(response, public=True, max_age=FOREVER, immutable=True)
        return response


def _has(request: HttpRequest, etag: str) -> bool:
    known = parse_etags(request.headers.get("If-None-Match", ""))
    return "*" in known or etag in {tag.removeprefix("W/") for tag in known}


def find_avatar(avatar_id: UUID) -> Avatar:
    """A claimed avatar: one still in the buffer is nobody's to see."""
    claimed = Avatar.objects.filter(pk=avatar_id, state=Avatar.State.CLAIMED)
    avatar = claimed.select_related("pool", "release").first()
    if avatar is None:
        raise NotFound("There is no such avatar.")
    return avatar


def avatar_body(request: Request, avatar: Avatar) -> dict[str, Any]:
    return avatar_form(avatar, _context(request)["root"])


def ticket_body(request: Request, ticket: Ticket) -> dict[str, Any]:
    context = _context(request) | {"outlook": outlook(ticket)}
    return dict(TicketSerializer(ticket, context=context).data)


def _context(request: Request) -> dict[str, Any]:
    return {"root": request._request.build_absolute_uri("/")}


def _answer(request: Request, answer: Claim) -> Response:
    root = _context(request)["root"].rstrip("/")
    if answer.avatar is not None:
        if settings.X_ACCEL:
            shown.show_claimed(answer.avatar)
        location = f"{root}/api/v1/avatars/{answer.avatar.pk}/"
        return Response(
            avatar_body(request, answer.avatar), status=201, headers={"Location": location}
        )
    location = f"{root}{answer.ticket.get_absolute_url()}"
    return Response(ticket_body(request, answer.ticket), status=202, headers={"Location": location})
