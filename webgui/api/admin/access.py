"""Who may use the administrators' part: staff, signed in on the site or with a token."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import (
    BaseAuthentication,
    SessionAuthentication,
    get_authorization_header,
)
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission

from webgui.accounts.models import StaffToken

from ..views import Resource


class BearerToken(BaseAuthentication):
    def authenticate(self, request: Any) -> tuple[Any, StaffToken] | None:
        scheme, _, value = get_authorization_header(request).decode("latin-1").partition(" ")
        if scheme.lower() != "bearer":
            return None
        token = StaffToken.find(value.strip())
        if token is None:
            raise AuthenticationFailed("The token is unknown, revoked, or its owner is no staff.")
        return token.user, token

    def authenticate_header(self, request: Any) -> str:
        return "Bearer"


class SiteSession(SessionAuthentication):
    def enforce_csrf(self, request: Any) -> None:
        """DRF hands its own request on, in which looking for a form's token parses the body."""
        super().enforce_csrf(request._request)


class StaffOnly(BasePermission):
    message = "This is for administrators (staff) alone."

    def has_permission(self, request: Any, view: Any) -> bool:
        return bool(request.user and request.user.is_active and request.user.is_staff)


class StaffResource(Resource):
    authentication_classes = [BearerToken, SiteSession]
    permission_classes = [StaffOnly]


class BearerTokenScheme(OpenApiAuthenticationExtension):
    target_class = BearerToken
    name = "staffToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "Made in the admin site or by `manage.py add_token USER`.",
        }


class SiteSessionScheme(OpenApiAuthenticationExtension):
    target_class = SiteSession
    name = "siteSession"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}
