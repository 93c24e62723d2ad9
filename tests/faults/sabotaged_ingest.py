"""The server's Celery application, mortal at three places of taking in a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.faults import ready  # noqa: F401 (before the models)
from tests.faults.sabotage import die_if_armed
from webgui.buffer import inbox, ingest, pictures
from webgui.config.celery import app

AFTER_MOVE, BEFORE_COMMIT, AFTER_COMMIT = "after-move", "before-commit", "after-commit"


def _mortal(home: Any, name: str, *, before: str = "", after: str = "") -> None:
    """Wrap `home.name`, which must be there: a place that moved away has to be found anew."""
    real: Callable[..., Any] = getattr(home, name)

    def call(*arguments: Any, **options: Any) -> Any:
        if before:
            die_if_armed(before)
        result = real(*arguments, **options)
        if after:
            die_if_armed(after)
        return result

    setattr(home, name, call)


_mortal(pictures.Staging, "publish", after=AFTER_MOVE)
_mortal(ingest, "_write_rows", after=BEFORE_COMMIT)
_mortal(inbox, "remove", before=AFTER_COMMIT)

__all__ = ["app"]
