"""Pools over REST: opening, changing, activating, rolling back, canaries; the audit log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from tests.webgui.api.asking import problem_of
from tests.webgui.buffer.test_activation import files_of
from tests.webgui.making import make_batch, make_release, stock
from webgui.accounts.models import AuditEntry
from webgui.buffer.models import Avatar, Pool
from webgui.registry.models import Release

POOLS = "/api/v1/admin/pools/"
TOON = f"{POOLS}toon/"
AUDIT = "/api/v1/admin/audit/"
Ask = Callable[..., Any]


@pytest.fixture
def ask(client: Client, bearer: dict[str, str]) -> Ask:
    """Send JSON as an administrator."""

    def send(method: str, path: str, told: Any = None) -> Any:
        given = {} if told is None else {"data": told}
        if method != "get":
            given["content_type"] = "application/json"
        return getattr(client, method)(path, headers=bearer, **given)

    return send


@pytest.fixture
def newer(pool: Pool) -> Release:
    return make_release("newer", Release.State.PREVIEWED)


def test_all_there_is_to_know_of_a_pool(ask: Ask, pool: Pool) -> None:
    stock(pool, 3)
    make_batch(pool, count=8, drawn=8, ingested_count=6, state="ingested")
    make_batch(pool, count=4, worker="w1", fraction=0.5)
    shown = ask("get", TOON).json()
    assert ask("get", POOLS).json() == [shown]
    assert (shown["available"], shown["under_way"], shown["waiting"]) == (3, 4, 0)
    assert shown["release"] == {
        "digest": pool.release.digest,
        "title": "Toon heads",
        "state": "active",
        "benign": 0.75,
        "available": 3,
        "discarded": 0,
    }
    assert (shown["canary"], shown["previous"], shown["version"]) == (None, None, 0)
    (order,) = shown["orders"]
    assert (order["worker"], order["fraction"], order["count"]) == ("w1", 0.5, 4)


def test_there_and_back(ask: Ask, pool: Pool, newer: Release) -> None:
    before = pool.release
    files_of(stock(pool, 5))
    told = {"release": newer.digest, "old_stock": "discard", "version": 0}
    answer = ask("post", f"{TOON}activations/", told)
    assert answer.status_code == 201
    shown = answer.json()
    assert (shown["release"]["digest"], shown["available"], shown["version"]) == (
        newer.digest,
        0,
        1,
    )
    assert shown["previous"]["digest"] == before.digest and shown["previous"]["discarded"] == 5
    shown = ask("post", f"{TOON}rollback/", {}).json()
    assert (shown["release"]["digest"], shown["available"]) == (before.digest, 5)
    problem_of(ask("post", f"{TOON}rollback/"), 409, "nothing_to_roll_back")
    acts = [entry["act"] for entry in ask("get", f"{TOON}activations/").json()]
    assert acts == ["pool.rolled_back", "pool.activated"]


def test_a_canary_is_tried_and_promoted(ask: Ask, pool: Pool, newer: Release) -> None:
    shown = ask("put", f"{TOON}canary/", {"release": newer.digest}).json()
    assert (shown["canary"]["digest"], shown["canary"]["share"]) == (newer.digest, 10)
    shown = ask("put", f"{TOON}canary/", {"release": newer.digest, "share": 30}).json()
    assert shown["canary"]["share"] == 30 and not shown["canary"]["given_up"]
    shown = ask("post", f"{TOON}canary/promote/", {"old_stock": "keep"}).json()
    assert (shown["release"]["digest"], shown["canary"]) == (newer.digest, None)
    problem_of(ask("post", f"{TOON}canary/promote/"), 409, "no_canary")


@pytest.mark.parametrize(("query", "left"), [("", 0), ("?old_stock=mix", 2)])
def test_a_canary_is_stopped(ask: Ask, pool: Pool, newer: Release, query: str, left: int) -> None:
    ask("put", f"{TOON}canary/", {"release": newer.digest})
    Avatar.objects.filter(pk__in=[avatar.pk for avatar in stock(pool, 2)]).update(release=newer)
    shown = ask("delete", f"{TOON}canary/{query}").json()
    assert (shown["canary"], shown["available"]) == (None, left)
    problem_of(ask("delete", f"{TOON}canary/"), 409, "no_canary")


def test_of_two_administrators_one_is_told_to_look_again(
    ask: Ask, pool: Pool, newer: Release
) -> None:
    seen = ask("get", TOON).json()["version"]
    other = make_release("other")
    told = {"version": seen, "release": newer.digest}
    assert ask("put", f"{TOON}canary/", told).status_code == 200
    for method, path, more in (
        ("post", "activations/", {"release": other.digest}),
        ("put", "canary/", {"release": other.digest}),
        ("post", "canary/promote/", {}),
        ("post", "rollback/", {}),
    ):
        answer = ask(method, TOON + path, {"version": seen, **more})
        problem_of(answer, 409, "changed_meanwhile")
    problem_of(ask("delete", f"{TOON}canary/?version={seen}"), 409, "changed_meanwhile")
    assert AuditEntry.objects.count() == 1


def test_only_what_was_previewed_is_given_to_a_pool(ask: Ask, pool: Pool) -> None:
    draft = make_release("draft", Release.State.DRAFT)
    told = {"release": draft.digest}
    problem_of(ask("post", f"{TOON}activations/", told), 409, "not_previewed")
    problem_of(ask("put", f"{TOON}canary/", told), 409, "not_previewed")
    problem_of(ask("post", POOLS, told | {"slug": "two"}), 409, "not_previewed")
    assert Pool.objects.get().version == 0 and not AuditEntry.objects.exists()


def test_a_pool_is_opened_and_changed(ask: Ask, pool: Pool, newer: Release) -> None:
    told = {"slug": "fresh", "release": newer.digest, "low_watermark": 5, "high_watermark": 9}
    answer = ask("post", POOLS, told)
    assert answer.status_code == 201
    shown = answer.json()
    assert (shown["slug"], shown["name"], shown["high_watermark"]) == ("fresh", newer.title, 9)
    assert shown["release"]["state"] == "active"
    problem_of(ask("post", POOLS, told), 400, "bad_pool")  # the slug is taken
    shown = ask("patch", f"{POOLS}fresh/", {"paused": True}).json()
    assert shown["paused"] and shown["version"] == 0
    shown = ask("patch", f"{POOLS}fresh/", {"high_watermark": 20, "name": "Fresh"}).json()
    assert (shown["high_watermark"], shown["name"], shown["paused"]) == (20, "Fresh", True)
    ask("patch", f"{POOLS}fresh/", {"high_watermark": 20})  # nothing new, so nothing to tell
    told_of = [(entry.act, entry.details) for entry in AuditEntry.objects.order_by("pk")]
    assert told_of[1:] == [
        ("pool.paused", {"paused": [False, True]}),
        ("pool.edited", {"name": [newer.title, "Fresh"], "high_watermark": [9, 20]}),
    ]


@pytest.mark.parametrize(
    ("method", "path", "told"),
    [
        ("patch", "", {"low_watermark": 17}),
        ("patch", "", {"high_watermark": -1}),
        ("patch", "", {"high_watermark": 2**31}),
        ("patch", "", {"batch_size": 0}),
        ("patch", "", {"batch_size": 10**6}),
        ("patch", "", {"paused": "yes"}),
        ("patch", "", {"name": ""}),
        ("patch", "", {"slug": "other"}),
        ("patch", "", {"release": "a" * 64}),
        ("post", "activations/", {}),
        ("post", "activations/", {"release": 5}),
        ("post", "activations/", {"release": "a" * 64, "old_stock": "burn"}),
        ("post", "activations/", {"release": "a" * 64, "oldstock": "keep"}),
        ("post", "rollback/", {"old_stock": None}),
        ("post", "rollback/", {"version": -1}),
        ("put", "canary/", {"release": "x", "share": 0}),
        ("put", "canary/", []),
    ],
)
def test_bad_bodies_change_nothing(ask: Ask, pool: Pool, method: str, path: str, told: Any) -> None:
    answer = ask(method, TOON + path, told)
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    fresh = Pool.objects.get()
    assert (fresh.version, fresh.low_watermark, fresh.high_watermark) == (0, 8, 16)
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize("share", [100, 2**31 - 1])
def test_a_share_is_no_more_than_99_percent(
    ask: Ask, pool: Pool, newer: Release, share: int
) -> None:
    answer = ask("put", f"{TOON}canary/", {"release": newer.digest, "share": share})
    problem_of(answer, 400, "bad_pool")


def test_what_is_not_there(ask: Ask, pool: Pool) -> None:
    for path in ("nowhere/", "nowhere/activations/"):
        problem_of(ask("get", POOLS + path), 404, "not_found")
    for digest in ("a" * 64, "\x00", "abc"):
        told = {"release": digest}
        assert ask("post", f"{TOON}activations/", told).status_code in (400, 404)


def test_the_log_is_asked_by_thing_act_and_person(ask: Ask, pool: Pool, newer: Release) -> None:
    ask("post", f"{TOON}activations/", {"release": newer.digest})
    ask("patch", TOON, {"paused": True})
    ask("patch", TOON, {"paused": False})
    ask("post", POOLS, {"slug": "two", "release": newer.digest})

    def acts(query: str) -> list[str]:
        return [entry["act"] for entry in ask("get", f"{AUDIT}?{query}").json()]

    ordered = ["pool.created", "pool.resumed", "pool.paused", "pool.activated"]
    assert acts("") == acts("actor=keeper") == ordered
    assert acts("target=pool/two") == ["pool.created"]
    assert acts("act=pool.paused") == ["pool.paused"]
    assert acts("actor=nobody") == []
    assert acts("limit=2") == ordered[:2]
    last = ask("get", f"{AUDIT}?limit=2").json()[-1]
    assert acts(f"before={last['id']}") == ordered[2:]
    assert last["actor"] == "keeper" and last["token"].startswith("sdt_")
    for query in ("limit=0", "before=x", "limit=100000", "before=9" + "9" * 30):
        assert ask("get", f"{AUDIT}?{query}").status_code == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", POOLS), ("post", POOLS), ("get", TOON), ("patch", TOON),
        ("get", f"{TOON}activations/"), ("post", f"{TOON}activations/"),
        ("post", f"{TOON}rollback/"), ("put", f"{TOON}canary/"), ("delete", f"{TOON}canary/"),
        ("post", f"{TOON}canary/promote/"), ("get", AUDIT),
    ],
)  # fmt: skip
def test_administrators_alone(
    client: Client, pool: Pool, newer: Release, method: str, path: str
) -> None:
    told = {"data": {"release": newer.digest, "slug": "x"}, "content_type": "application/json"}
    given = {} if method in ("get", "delete") else told
    problem_of(getattr(client, method)(path, **given), 401, "not_authenticated")
    client.force_login(get_user_model().objects.create_user("visitor"))
    problem_of(getattr(client, method)(path, **given), 403, "permission_denied")
    assert Pool.objects.get().version == 0 and not AuditEntry.objects.exists()
