"""Whatever somebody throws into the box: a fresh sheet of ours comes out, or nothing."""

from __future__ import annotations

import base64
import json
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from messaging import seals
from messaging.letterbox import LARGEST, Unreadable, copied

quickly = settings(max_examples=200, deadline=None, derandomize=True, database=None)
values = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(), inner, max_size=4),
    max_leaves=8,
)


def packed(value: Any) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


def letter(**changes: Any) -> dict[str, Any]:
    """As Celery sends one; `headers__task="…"` changes what lies inside."""
    made: dict[str, Any] = {
        "body": packed([[], {"message": {"worker": "gpu1"}}, {"callbacks": None}]),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"task": "fleet.heartbeat", "id": "1", "seal": f"gpu1:{'0' * 64}"},
        "properties": {"delivery_tag": "1", "body_encoding": "base64", "delivery_info": {}},
    }
    for name, value in changes.items():
        outer, _, inner = name.partition("__")
        if inner:
            made[outer][inner] = value
        else:
            made[outer.replace("_", "-")] = value
    return made


def arguments(sheet: dict[str, Any]) -> list[Any]:
    return json.loads(base64.b64decode(sheet["body"]))


def test_task_arguments_and_a_few_texts_are_copied() -> None:
    expires = "2026-11-25T10:00:00.123456+00:00"
    given_ = letter(headers__request_id="r-1", headers__expires=expires)
    sheet = copied(given_, "server")
    assert arguments(sheet)[:2] == [[], {"message": {"worker": "gpu1"}}]
    headers = sheet["headers"]
    assert (headers["task"], headers["expires"]) == ("fleet.heartbeat", expires)
    assert (headers[seals.HEADER], headers["request_id"]) == (f"gpu1:{'0' * 64}", "r-1")
    assert copied(sheet, "server")["body"] == sheet["body"]  # one put back is read again


def test_nothing_else_is() -> None:
    evil = {"task": "buffer.prune", "args": [], "kwargs": {}, "options": {}}
    sheet = copied(
        letter(
            body=packed([[], {}, {"callbacks": [evil], "errbacks": [evil], "chain": [evil]}]),
            headers__timelimit=[1, 1],
            headers__eta="2999-01-01T00:00:00",
            headers__group="x",
            headers__retries=9,
            properties__reply_to="worker.gpu2",
            properties__priority="9",
            properties__delivery_tag="another's",
            properties__delivery_info={"exchange": "worker.gpu2", "routing_key": "worker.gpu2"},
        ),
        "server",
    )
    assert arguments(sheet)[2] == dict.fromkeys(("callbacks", "errbacks", "chain", "chord"))
    assert "worker.gpu2" not in json.dumps(sheet) and "another's" not in json.dumps(sheet)
    assert "2999" not in json.dumps(sheet) and sheet["headers"]["timelimit"] == [None, None]
    assert sheet["properties"]["delivery_info"]["routing_key"] == "server"


@pytest.mark.parametrize(
    "message",
    [
        *(None, 5, [], "text", {}, {"body": "x"}),
        letter(headers=None),
        letter(headers=[]),
        letter(properties=5),
        letter(headers__task=None),
        letter(headers__task=["buffer.prune"]),
        letter(headers__task="no task\n"),
        letter(headers__seal={}),
        letter(headers__expires=[1]),
        letter(headers__request_id="a b"),
        letter(content_type="application/x-python-serialize"),
        letter(body=base64.b64encode(pickle.dumps([[], {}, {}])).decode()),
        letter(body="%%%"),
        letter(body=5),
        letter(body=packed("x" * LARGEST)),
        letter(body=packed([])),
        letter(body=packed([[], [], {}])),
        letter(body=packed([["positional"], {}, {}])),
        letter(body=base64.b64encode(b"[" * 100_000).decode()),
    ],
    ids=lambda message: None,
)
def test_what_is_none_of_ours_is_refused(message: Any) -> None:
    with pytest.raises(Unreadable):
        copied(message, "server")


@quickly
@given(message=values, headers=values, properties=values, body=values | some.text())
def test_any_json(message: Any, headers: Any, properties: Any, body: Any) -> None:
    whole = letter(headers=headers, properties=properties, body=body)
    for made in (message, whole, letter(properties=properties), letter(body=body)):
        try:
            sheet = copied(made, "server")
        except Unreadable:
            continue
        assert isinstance(arguments(sheet)[1], dict)
        json.dumps(sheet)


def test_a_seal_is_of_one_sender_task_and_text() -> None:
    key = seals.key_of("redis://worker-gpu1:a%20secret@broker/0")
    assert key == seals.key_of("redis://somebody:a%20secret@elsewhere:1/3")
    sealed = seals.seal(key, "gpu1", "fleet.heartbeat", {"message": {"a": 1, "b": 0.1}})
    assert seals.sender(sealed) == "gpu1" and "secret" not in sealed
    same = {"message": {"b": 0.1, "a": 1}}
    assert seals.is_genuine(sealed, key, "fleet.heartbeat", same)
    assert not seals.is_genuine(sealed, key, "buffer.prune", same)
    assert not seals.is_genuine(sealed, key, "fleet.heartbeat", {"message": {"a": 2, "b": 0.1}})
    assert not seals.is_genuine(sealed, seals.key_of("redis://b"), "fleet.heartbeat", same)
    forged = f"gpu2:{sealed.partition(':')[2]}"
    assert not seals.is_genuine(forged, key, "fleet.heartbeat", same)
    assert not seals.is_genuine("é", key, "fleet.heartbeat", same)
