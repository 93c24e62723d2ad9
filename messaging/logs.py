"""One line a log record, with the ids of what it is about: `batch`, `job`, whatever is bound.

with bound(batch=str(batch_id)):
    log.info("Drawing")
"""

from __future__ import annotations

import json
import logging
import logging.config
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

current: ContextVar[Mapping[str, str]] = ContextVar("current", default={})  # noqa: B039


@contextmanager
def bound(**ids: object) -> Iterator[None]:
    """Every record of this thread carries these ids meanwhile."""
    token = current.set({**current.get(), **{name: str(value) for name, value in ids.items()}})
    try:
        yield
    finally:
        current.reset(token)


class TextLines(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        ids = " ".join(f"{name}={value}" for name, value in current.get().items())
        return f"{super().formatMessage(record)} {ids}".rstrip()


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
            **current.get(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


def set_up(level: str, form: Literal["text", "json"]) -> None:
    """All records of this process to standard error, in this form."""
    lines = JsonLines if form == "json" else TextLines
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"lines": {"()": lines}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines"}},
            "root": {"level": level, "handlers": ["stderr"]},
        }
    )
