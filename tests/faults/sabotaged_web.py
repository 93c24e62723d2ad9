"""The web application, mortal between having written a claim and answering it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tests.faults.sabotage import die_if_armed
from webgui.config.wsgi import application as real

BEFORE_ANSWER = "before-answer"


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    answer = real(environ, start_response)
    if environ["REQUEST_METHOD"] == "POST":
        die_if_armed(BEFORE_ANSWER)
    return answer
