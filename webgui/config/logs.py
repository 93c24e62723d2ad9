"""Every request has an id, which all that is logged on its account carries."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from messaging import logs


class RequestId:
    """Takes the id a proxy or a client gave (`X-Request-ID`) or makes one, and answers with it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request_id = logs.usable(request.headers.get("X-Request-ID")) or uuid.uuid4().hex
        with logs.bound(request=request_id):
            response = self.get_response(request)
        response["X-Request-ID"] = request_id
        return response


def request_id() -> str:
    """Of the web request on whose account this is done; empty where it is nobody's."""
    return logs.current.get().get("request", "")


class NotForeseen(logging.Filter):
    """Drops Django's word on a 503 that we answered on purpose (an empty buffer, say)."""

    def filter(self, record: logging.LogRecord) -> bool:
        return getattr(record, "status_code", None) != 503 or record.exc_info is not None
