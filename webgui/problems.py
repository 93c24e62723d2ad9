"""Refusals that people and programs are told about; each has a stable `code`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class Problem(Exception):
    """`str(problem)` is a sentence for people; the rest is what an RFC 9457 answer needs."""

    status = 400
    code = "bad_request"
    title = "The request cannot be answered"

    def __init__(
        self,
        detail: str,
        faults: Mapping[str, str] | None = None,
        *,
        field: str = "",
        accepted: Sequence[str] = (),
        retry_after: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        # Several fields at once, each with a sentence of its own.
        self.faults = dict(faults or {})
        self.field = field
        self.accepted = list(accepted)
        self.retry_after = retry_after
