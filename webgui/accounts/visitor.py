"""Who is asking, without an account: a signed cookie for browsers, the address for programs.

The cookie is apart from Django's session on purpose: it costs no database row, and it survives
an administrator's log-in and log-out, so the visitor's strip of avatars does too.

* Pages call `visitor_of(request)`: a newcomer gets a cookie with the answer.
* The API calls `client_of(request)`: it takes the cookie if the page's script sent one and never
  sets one, so a program's retry looks like its first try.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Callable

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse
from rest_framework.throttling import BaseThrottle

COOKIE = settings.COOKIE_PREFIX + "visitor"
SALT = "webgui.accounts.visitor"
YEAR = 365 * 24 * 3600


def known_visitor(request: HttpRequest) -> str | None:
    """`visitor:…` of the cookie, if there is a genuine one."""
    token = getattr(request, "new_visitor", None)
    if token is None:
        try:
            token = signing.loads(request.COOKIES[COOKIE], salt=SALT, max_age=YEAR)
        except (KeyError, signing.BadSignature):
            return None
    return f"visitor:{token}"


def visitor_of(request: HttpRequest) -> str:
    """The opaque key of a browser's visitor, made on the first call for a newcomer."""
    if known := known_visitor(request):
        return known
    request.new_visitor = secrets.token_urlsafe(16)  # type: ignore[attr-defined]
    return f"visitor:{request.new_visitor}"  # type: ignore[attr-defined]


def client_of(request: HttpRequest) -> str:
    return known_visitor(request) or f"address:{address_of(request)}"


def address_of(request: HttpRequest) -> str:
    """The client's address; X-Forwarded-For counts only as far as NUM_PROXIES says."""
    return str(BaseThrottle().get_ident(request))[:64]  # type: ignore[arg-type]


def network_of(request: HttpRequest) -> str | None:
    """The address by which a client is counted: of IPv6 the first of its /64, of which a household
    has all. None where what is said to be one is none."""
    try:
        address = ipaddress.ip_address(address_of(request))
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False).network_address)


class VisitorCookie:
    """Hands the cookie to a visitor whom a page met for the first time."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if token := getattr(request, "new_visitor", None):
            response.set_cookie(
                COOKIE,
                signing.dumps(token, salt=SALT),
                max_age=YEAR,
                httponly=True,
                samesite="Lax",
                secure=settings.HTTPS,
            )
            response["Cache-Control"] = "private, no-store"
        return response
