"""Reading requests and choosing the answer's form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser

from .errors import BodyTooLarge

MAX_BODY = 16_384


class BoundedJSON(BaseParser):
    """JSON of a bounded size; DRF's own parser reads whatever is sent."""

    media_type = "application/json"

    def parse(
        self, stream: Any, media_type: Any = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        data = stream.read(MAX_BODY + 1)
        if len(data) > MAX_BODY:
            raise BodyTooLarge(f"The body may have at most {MAX_BODY} bytes.")
        if not data.strip():
            return {}
        try:
            return json.loads(data, parse_constant=_refuse_constant)
        except RecursionError as error:
            raise ParseError("JSON parse error: nested too deeply") from error
        except ValueError as error:
            raise ParseError(f"JSON parse error: {error}") from error


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def demand_json(request: Any) -> None:
    """DRF passes over the type of an empty body, such as a form of another site sends."""
    if _kind(request) not in ("", BoundedJSON.media_type):
        raise UnsupportedMediaType(request.content_type)


def _kind(request: Any) -> str:
    return str(request.content_type or "").partition(";")[0].strip().lower()


class FirstRenderer(BaseContentNegotiation):
    """There is one form of each answer, so an Accept header is no reason to refuse."""

    def select_parser(self, request: Any, parsers: Any) -> Any:
        return next((p for p in parsers if p.media_type == _kind(request)), None)

    def select_renderer(self, request: Any, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type
