"""Redis as a broker whose queues others may throw things into.

    app.conf.broker_transport = "messaging.letterbox:Transport"
    app.conf.broker_transport_options = {"letterboxes": ["server"], …}

kombu and Celery trust what they find in a queue: a list where a dictionary should be, or a number
where a text should be, ends the whole consumer, and a message may name functions to call when it is
done, or where it is to be put back. So of a message in a letterbox only task, arguments and a few
texts are copied onto a fresh sheet of our own; what cannot be copied is dropped, with a line in the
log. Who it is from is not looked at here (`messaging.seals`).
"""

from __future__ import annotations

import base64
import json
import logging
import re
import uuid
from typing import Any

from kombu.transport import redis

from messaging import seals, traces

LARGEST = 1 << 20  # characters of a body
TASK = re.compile(r"[a-z_]+(\.[a-z_]+)+")
EXPIRES = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(\+\d\d:\d\d)?")
TEXT = re.compile(r"[\w.:-]{1,200}", re.ASCII)
EMBEDDED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
log = logging.getLogger(__name__)


class Unreadable(ValueError):
    """It is no message of ours; the text says what is wrong."""


class Channel(redis.Channel):
    connection: Any

    def _brpop_read(self, **options: Any) -> Any:
        self.connection.has_opened = False
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]  # not in its stubs
        except (ValueError, RecursionError) as error:
            if self.connection.has_opened:  # it was JSON: what failed is no fault of the sender's
                raise
            log.error("Dropped what is no JSON: %s", type(error).__name__)
            return True


class Transport(redis.Transport):
    Channel = Channel
    has_opened = False

    def _deliver(self, message: Any, queue: Any) -> None:
        self.has_opened = True
        options: Any = self.client and self.client.transport_options
        if queue in (options or {}).get("letterboxes", ()):
            try:
                message = copied(message, queue)
            except Unreadable as fault:
                log.error("Dropped a message in %s: %s", queue, fault)
                return
        super()._deliver(message, queue)


def copied(message: Any, queue: str) -> dict[str, Any]:
    """The message on a sheet of ours, addressed to the queue in which it was found."""
    found = _dict(message, "the message")
    headers = _dict(found.get("headers"), "headers")
    properties = _dict(found.get("properties"), "properties")
    if found.get("content-type") != "application/json":
        raise Unreadable("it is not JSON")
    told = {name: _text(headers, name, TEXT) for name in (seals.HEADER, traces.HEADER)}
    number = str(uuid.uuid4())
    info = properties.get("delivery_info")
    again = isinstance(info, dict) and info.get("redelivered") is True
    return {
        "body": base64.b64encode(json.dumps([[], _arguments(found), EMBEDDED]).encode()).decode(),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {
            "lang": "py",
            "task": _text(headers, "task", TASK) or _refuse("it names no task"),
            "id": number,
            "root_id": number,
            "parent_id": None,
            "group": None,
            "eta": None,
            "expires": _text(headers, "expires", EXPIRES),
            "retries": 0,
            "timelimit": [None, None],
            "argsrepr": "()",
            "kwargsrepr": "{}",
            "origin": "",
            "ignore_result": True,
            **{name: text for name, text in told.items() if text},
        },
        "properties": {
            "correlation_id": number,
            "reply_to": "",
            "delivery_mode": 2,
            "delivery_info": {"exchange": queue, "routing_key": queue, "redelivered": again},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": number,
        },
    }


def _arguments(found: dict[str, Any]) -> dict[str, Any]:
    body = found.get("body")
    if not isinstance(body, str) or len(body) > LARGEST:
        raise Unreadable("its body is no text of a size that we send")
    try:
        read = json.loads(base64.b64decode(body, validate=True))
    except (ValueError, RecursionError) as error:
        raise Unreadable("its body cannot be read") from error
    if not isinstance(read, list) or len(read) != 3 or read[0] != []:
        raise Unreadable("its body is not as Celery has it")
    return _dict(read[1], "arguments")


def _dict(value: Any, what: str) -> dict[str, Any]:
    return value if isinstance(value, dict) else _refuse(f"{what}: not a dictionary")


def _text(headers: dict[str, Any], name: str, form: re.Pattern[str]) -> str | None:
    value = headers.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not form.fullmatch(value):
        raise Unreadable(f"its {name} is none")
    return value


def _refuse(why: str) -> Any:
    raise Unreadable(why)
