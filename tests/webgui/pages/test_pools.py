"""Pages about pools: what they show, what their forms do, and for whom."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from tests.webgui.making import make_batch, make_pool, make_release, stock
from webgui.accounts.models import AuditEntry
from webgui.buffer import canary
from webgui.buffer.activation import activate
from webgui.buffer.models import Avatar, OldStock, Pool
from webgui.registry.models import Release

POOLS = "/manage/pools/"
TOON = f"{POOLS}toon/"
SIZES = {"name": "x", "low_watermark": "1", "high_watermark": "2", "batch_size": "3"}


@pytest.fixture
def keeper(db: None, client: Client) -> Client:
    client.force_login(get_user_model().objects.create_user("keeper", is_staff=True))
    return client


@pytest.fixture
def newer(pool: Pool) -> Release:
    release = make_release("newer", Release.State.PREVIEWED)
    Release.objects.filter(pk=release.pk).update(title="Newer heads")
    release.refresh_from_db()
    return release


def text_of(response: Any, status: int = 200) -> str:
    assert response.status_code == status
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def post(client: Client, act: str, **fields: Any) -> Any:
    return client.post(TOON, {"act": act, "version": Pool.objects.get().version} | fields)


def test_the_shelf(keeper: Client, pool: Pool, newer: Release) -> None:
    stock(pool, 5)
    make_batch(pool, count=4)
    canary.start(pool, newer, "tests", 20)
    make_pool("dull", paused=True)
    shown = text_of(keeper.get(POOLS))
    for words in ("5 of 16 in the buffer, 4 under way", "tries Newer heads on 20 %", "Paused"):
        assert words in shown, words


def test_what_a_pools_page_tells(keeper: Client, pool: Pool, newer: Release) -> None:
    make_batch(pool, count=8, drawn=8, ingested_count=6, state="ingested")
    stock(pool, 4)
    make_batch(pool, count=4, worker="gpu-1", fraction=0.5)
    pool = activate(pool, newer, "keeper", OldStock.KEEP)
    stock(pool, 2)
    shown = text_of(keeper.get(TOON))
    for words in (
        "6 of 16 in the buffer, 4 under way", "4 images , handed out first",
        "4 of Toon heads at gpu-1", "Roll back to Toon heads", "2 image s of it in the buffer",
        "Given Newer heads", "in place of Toon heads; old images first",
    ):  # fmt: skip
        assert words.replace(" ", "") in shown.replace(" ", ""), words


def test_the_part_that_changes_comes_alone(keeper: Client, pool: Pool) -> None:
    page = keeper.get(f"{TOON}now/").content.decode()
    assert "<html" not in page
    assert re.findall(r'data-part="(\w+)"', page) == ["badge", "level", "canary"]


def test_there_and_back(keeper: Client, pool: Pool, newer: Release) -> None:
    before = pool.release
    stock(pool, 3)
    answer = post(keeper, "activate", release=newer.digest, old_stock="discard")
    assert (answer.status_code, answer["Location"]) == (302, f"{TOON}#main")
    pool.refresh_from_db()
    assert pool.release == newer and not Avatar.objects.filter(state="available").exists()
    assert "3 discarded images of it come back" in text_of(keeper.get(TOON))
    assert post(keeper, "roll_back", old_stock="discard").status_code == 302
    pool.refresh_from_db()
    assert pool.release == before
    assert "Rolled back to Toon heads" in text_of(keeper.get(TOON))
    assert [entry.actor for entry in AuditEntry.objects.all()] == ["keeper", "keeper"]


def test_a_canary_is_tried_changed_promoted(keeper: Client, pool: Pool, newer: Release) -> None:
    post(keeper, "try", release=newer.digest, share="20")
    assert "Newer heads on 20 % of the orders" in text_of(keeper.get(TOON))
    post(keeper, "try", release=newer.digest, share="35")
    pool.refresh_from_db()
    assert pool.canary_share == 35
    post(keeper, "promote", old_stock="mix")
    pool.refresh_from_db()
    assert (pool.release, pool.canary) == (newer, None)
    assert "Given its canary Newer heads" in text_of(keeper.get(TOON))


def test_a_canary_is_stopped(keeper: Client, pool: Pool, newer: Release) -> None:
    pool = canary.start(pool, newer, "tests")
    Pool.objects.update(canary_failures=canary.PATIENCE, canary_trouble="w1: cannot load it")
    shown = text_of(keeper.get(TOON))
    assert "Its last three orders failed" in shown and "cannot load it" in shown
    post(keeper, "stop", old_stock="discard")
    pool.refresh_from_db()
    assert pool.canary is None


def test_settings_and_pause(keeper: Client, pool: Pool) -> None:
    told = {"name": "Heads", "low_watermark": "3", "high_watermark": "33", "batch_size": "7"}
    assert post(keeper, "edit", **told).status_code == 302
    post(keeper, "pause")
    pool.refresh_from_db()
    assert (pool.name, pool.low_watermark, pool.high_watermark) == ("Heads", 3, 33)
    assert (pool.batch_size, pool.paused) == (7, True)
    shown = text_of(keeper.get(TOON))
    assert "Changed: name Toon → Heads, low watermark 8 → 3" in shown and "Paused" in shown
    post(keeper, "resume")
    pool.refresh_from_db()
    assert not pool.paused


@pytest.mark.parametrize(
    ("act", "fields", "status"),
    [
        ("activate", {"release": "a" * 64, "old_stock": "mix"}, 404),
        ("activate", {"old_stock": "mix"}, 404),
        ("roll_back", {"old_stock": "discard"}, 409),
        ("roll_back", {"old_stock": "burn"}, 400),
        ("roll_back", {"old_stock": "mix", "version": "7"}, 409),
        ("roll_back", {"old_stock": "mix", "version": "seven"}, 400),
        ("promote", {"old_stock": "mix"}, 409),
        ("stop", {"old_stock": "mix"}, 409),
        ("edit", SIZES | {"low_watermark": "99"}, 400),
        ("edit", SIZES | {"low_watermark": "-1"}, 400),
        ("edit", SIZES | {"name": ""}, 400),
        ("burn", {}, 400),
    ],
)  # fmt: skip
def test_what_cannot_be_done_says_why(
    keeper: Client, pool: Pool, act: str, fields: dict[str, str], status: int
) -> None:
    answer = post(keeper, act, **fields)
    assert answer.status_code == status and b'role="alert"' in answer.content
    assert Pool.objects.get().version == 0 and not AuditEntry.objects.exists()


def test_a_draft_is_not_offered_and_not_taken(keeper: Client, pool: Pool) -> None:
    draft = make_release("draft", Release.State.DRAFT)
    assert draft.digest not in keeper.get(TOON).content.decode()
    answer = post(keeper, "activate", release=draft.digest, old_stock="mix")
    assert "no good preview" in text_of(answer, 409)


def test_opening_a_pool(keeper: Client, pool: Pool, newer: Release) -> None:
    form = keeper.get(f"{POOLS}new/?release={newer.digest}").content.decode()
    assert f'value="{newer.digest}" selected' in form
    told = {
        "name": "Newer", "slug": "newer", "release": newer.digest, "low_watermark": "4",
        "high_watermark": "8", "batch_size": "2",
    }  # fmt: skip
    answer = keeper.post(f"{POOLS}new/", told)
    assert (answer.status_code, answer["Location"]) == (302, f"{POOLS}newer/")
    assert Pool.objects.get(slug="newer").release == newer
    assert "Opened with Newer heads" in text_of(keeper.get(f"{POOLS}newer/"))
    for wrong in ({"slug": "no slug"}, {"slug": "newer"}, {"slug": "new"}, {"low_watermark": "9"}):
        shown = text_of(keeper.post(f"{POOLS}new/", told | {"slug": "other"} | wrong), 400)
        assert "cannot be like this" in shown
    assert Pool.objects.count() == 2


def test_from_a_release_to_a_pool(keeper: Client, pool: Pool, newer: Release) -> None:
    page = keeper.get(f"/manage/releases/{newer.digest}/").content.decode()
    assert f'href="{POOLS}?release={newer.digest}"' in page
    shelf = keeper.get(f"{POOLS}?release={newer.digest}").content.decode()
    assert f'href="{TOON}?release={newer.digest}#give"' in shelf
    form = keeper.get(f"{TOON}?release={newer.digest}").content.decode()
    assert f'value="{newer.digest}" selected' in form and 'id="give" open' in form
    canary.start(pool, newer, "tests")
    assert "Tried by Toon" in text_of(keeper.get(f"/manage/releases/{newer.digest}/"))


@pytest.mark.parametrize("path", [POOLS, TOON, f"{TOON}now/", f"{POOLS}new/"])
def test_administrators_alone(client: Client, pool: Pool, newer: Release, path: str) -> None:
    for _ in range(2):
        assert client.get(path).status_code == 302
        client.force_login(get_user_model().objects.get_or_create(username="visitor")[0])
    told = {"act": "activate", "version": 0, "release": newer.digest, "old_stock": "mix"}
    assert client.post(TOON, told).status_code == 302
    assert Pool.objects.get().version == 0


def test_no_such_pool(keeper: Client, pool: Pool) -> None:
    for path in (f"{POOLS}nowhere/", f"{POOLS}nowhere/now/"):
        assert keeper.get(path).status_code == 404
