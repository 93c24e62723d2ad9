"""Every error as RFC 9457 `application/problem+json` with a stable `code`.

{"type": "urn:stylediffuser:problem:unknown_tag", "title": "No such tag in this pool",
 "status": 400, "code": "unknown_tag", "detail": "…", "request": "6f0c…",
 "errors": [{"field": "tags", "detail": "…", "accepted": ["black hair", …]}]}
"""

from __future__ import annotations

import logging
import math
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import DatabaseError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views import defaults
from rest_framework import exceptions

from webgui.config.logs import request_id
from webgui.problems import Problem

PROBLEM_TYPE = "application/problem+json"
API_PREFIX = "/api/"
log = logging.getLogger(__name__)


class BadClaim(exceptions.ValidationError):
    """A claim with faulty fields; `accepted` is what each may hold."""

    def __init__(self, detail: Any, accepted: dict[str, list[str]]) -> None:
        super().__init__(detail)
        self.accepted = accepted


# DRF's exception → (code, title)
KNOWN: dict[type[exceptions.APIException], tuple[str, str]] = {
    exceptions.ValidationError: ("invalid", "The body is not as expected"),
    BadClaim: ("invalid", "The body is not as expected"),
    exceptions.ParseError: ("malformed_body", "The body cannot be read"),
    exceptions.NotFound: ("not_found", "Not found"),
    exceptions.MethodNotAllowed: ("method_not_allowed", "Method not allowed"),
    exceptions.NotAcceptable: ("not_acceptable", "Not acceptable"),
    exceptions.UnsupportedMediaType: ("unsupported_media_type", "Send application/json"),
    exceptions.Throttled: ("throttled", "Too many claims"),
    exceptions.NotAuthenticated: ("not_authenticated", "Not authenticated"),
    exceptions.AuthenticationFailed: ("authentication_failed", "Authentication failed"),
    exceptions.PermissionDenied: ("permission_denied", "Permission denied"),
}


class BodyTooLarge(Problem):
    status = 413
    code = "body_too_large"
    title = "The body is too large"


class CrossSite(Problem):
    status = 403
    code = "cross_site"
    title = "Claims are not taken from other sites' pages"


class DatabaseUnavailable(Problem):
    status = 503
    code = "database_unavailable"
    title = "The database does not answer"


def problem(
    status: int,
    code: str,
    title: str,
    detail: str,
    errors: list[dict[str, Any]] | None = None,
    headers: dict[str, str] | None = None,
) -> JsonResponse:
    body: dict[str, Any] = {
        "type": f"urn:stylediffuser:problem:{code}",
        "title": title,
        "status": status,
        "code": code,
        "detail": detail,
    }
    if request := request_id():
        body["request"] = request  # by which the server's logs tell more
    if errors:
        body["errors"] = errors
    response = JsonResponse(body, status=status, content_type=PROBLEM_TYPE, headers=headers)
    response["Cache-Control"] = "no-store"
    return response


def as_problem(error: Exception, context: dict[str, Any] | None = None) -> HttpResponse | None:
    """DRF's exception handler. None (a 500) only for what nobody foresaw."""
    if isinstance(error, Problem):
        return _from_problem(error)
    if isinstance(error, Http404):
        return _from_drf(exceptions.NotFound())
    if isinstance(error, PermissionDenied):
        return _from_drf(exceptions.PermissionDenied())
    if isinstance(error, exceptions.APIException):
        return _from_drf(error)
    if isinstance(error, RequestDataTooBig):
        return _from_problem(BodyTooLarge("The body is too large."))
    if isinstance(error, DatabaseError):
        log.exception("The database failed")
        detail = "The database does not answer; nothing was done. Try again shortly."
        return _from_problem(DatabaseUnavailable(detail, retry_after=10))
    return None


def _from_problem(error: Problem) -> HttpResponse:
    errors = [{"field": name, "detail": said} for name, said in error.faults.items()] or None
    if error.field:
        fault: dict[str, Any] = {"field": error.field, "detail": error.detail}
        errors = [fault | ({"accepted": error.accepted} if error.accepted else {})]
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after else None
    return problem(error.status, error.code, error.title, error.detail, errors, headers)


def _from_drf(error: exceptions.APIException) -> HttpResponse:
    code, title = KNOWN.get(type(error), ("error", "The request cannot be answered"))
    headers: dict[str, str] = {}
    if wait := getattr(error, "wait", None):
        headers["Retry-After"] = str(math.ceil(wait))
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    if isinstance(error, exceptions.ValidationError):
        errors = _faults(error.detail)
        if isinstance(error, BadClaim):
            _name_accepted(errors, error.accepted)
        detail = " ".join(f"{fault['field']}: {fault['detail']}" for fault in errors)
        return problem(error.status_code, code, title, detail, errors)
    return problem(error.status_code, code, title, str(error.detail), headers=headers)


def _faults(detail: Any, field: str = "") -> list[dict[str, Any]]:
    """DRF's nested lists and dicts of messages, flattened: one entry a message."""
    if isinstance(detail, dict):
        return [
            fault
            for key, value in detail.items()
            for fault in _faults(value, f"{field}.{key}" if field else str(key))
        ]
    if isinstance(detail, list):
        return [fault for value in detail for fault in _faults(value, field)]
    return [{"field": "body" if field == "non_field_errors" else field, "detail": str(detail)}]


def _name_accepted(errors: list[dict[str, Any]], accepted: dict[str, list[str]]) -> None:
    for fault in errors:
        if values := accepted.get(fault["field"].partition(".")[0]):
            fault["accepted"] = values


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if not request.path.startswith(API_PREFIX):
        return defaults.page_not_found(request, exception)
    return problem(404, "not_found", "Not found", f"There is nothing at {request.path}.")


def server_error(request: HttpRequest) -> HttpResponse:
    if not request.path.startswith(API_PREFIX):
        return defaults.server_error(request)
    detail = "Something went wrong on the server; it has been logged."
    return problem(500, "server_error", "Server error", detail)
