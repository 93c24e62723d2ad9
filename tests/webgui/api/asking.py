"""Asking the API as a program does."""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpResponse
from django.test import Client


def post_claim(client: Client, body: Any = None, **headers: str) -> HttpResponse:
    """`headers` as in `Idempotency_Key="…"`."""
    data = body if isinstance(body, str | bytes) else json.dumps({} if body is None else body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    content_type = named.pop("Content-Type", "application/json")
    return client.post("/api/v1/avatars/", data, content_type=content_type, headers=named)


def problem_of(response: HttpResponse, status: int, code: str) -> dict[str, Any]:
    """The problem's body, once it is sure to be one of RFC 9457 with this status and code."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = json.loads(response.content)
    assert body["status"] == status
    assert body["code"] == code
    assert body["type"].endswith(code)
    assert body["title"] and body["detail"]
    return body
