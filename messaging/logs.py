"""One line a log record, with the ids of what it is about: `request`, `batch`, `job`, whatever is
bound. A grep for one of them tells the whole story.

    with bound(batch=batch_id):
        log.info("Drawing")

No line holds a secret: what `hide` was told, and passwords in addresses, become `***`.
"""

from __future__ import annotations

import json
import logging
import logging.config
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import unquote, urlsplit

Form = Literal["text", "json"]
USABLE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""What may stand in a line as an id: whoever makes ids up writes no lines of his own."""
SHORTEST_SECRET = 6
PASSWORDS = re.compile(r"(?<=://)[^/@\s'\"]*:[^/@\s'\"]+(?=@)")
TOKENS = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}")

current: ContextVar[Mapping[str, str]] = ContextVar("current", default={})  # noqa: B039
_hidden: set[str] = set()


@contextmanager
def bound(**ids: object) -> Iterator[None]:
    """Every record of this thread carries these ids meanwhile; an empty one says nothing."""
    said = {name: str(value) for name, value in ids.items() if value not in ("", None)}
    token = current.set({**current.get(), **said})
    try:
        yield
    finally:
        current.reset(token)


def usable(value: object) -> str:
    """The value if it may stand in a line as an id, else nothing."""
    return value if isinstance(value, str) and USABLE_ID.fullmatch(value) else ""


def hide(*secrets: str) -> None:
    """These are to stand in no line of this process. What is too short to be one is let be."""
    _hidden.update(secret for secret in secrets if len(secret) >= SHORTEST_SECRET)


def hide_passwords(*addresses: str) -> None:
    """Those in the addresses, as they stand there and as they are meant."""
    for address in addresses:
        password = urlsplit(address).password or ""
        hide(password, unquote(password))


def _clean(line: str) -> str:
    for secret in _hidden:
        line = line.replace(secret, "***")
    return TOKENS.sub(r"\1 ***", PASSWORDS.sub("***", line))


class TextLines(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        ids = " ".join(f"{name}={value}" for name, value in current.get().items())
        return f"{super().formatMessage(record)} {ids}".rstrip()

    def format(self, record: logging.LogRecord) -> str:
        return _clean(super().format(record))


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": _clean(record.getMessage()),
            **current.get(),
        }
        if record.exc_info:
            fields["exception"] = _clean(self.formatException(record.exc_info))
        return json.dumps(fields, ensure_ascii=False)


FORMS: dict[str, type[logging.Formatter]] = {"text": TextLines, "json": JsonLines}


def settings(level: str, form: Form) -> dict:
    """For `logging.config.dictConfig`: all records of this process to standard error."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": {"()": FORMS[form]}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines"}},
        "root": {"level": level, "handlers": ["stderr"]},
    }


def set_up(level: str, form: Form) -> None:
    logging.config.dictConfig(settings(level, form))
