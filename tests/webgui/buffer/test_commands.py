"""What the pages do, from the command line."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from tests.webgui.buffer.test_activation import files_of
from tests.webgui.making import make_release, stock
from webgui.accounts import audit
from webgui.buffer.levels import level
from webgui.buffer.models import Pool
from webgui.registry.models import Release


@pytest.fixture
def newer(pool: Pool) -> Release:
    return make_release("newer", Release.State.PREVIEWED)


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def test_there_and_back(pool: Pool, newer: Release) -> None:
    before = pool.release
    files_of(stock(pool, 3))
    said = run("activate_release", "toon", newer.digest[:12], "--old-stock", "discard")
    assert newer.digest[:12] in said
    pool.refresh_from_db()
    assert pool.release == newer and level(pool).available == 0
    assert before.digest[:12] in run("rollback_pool", "toon")
    pool.refresh_from_db()
    assert pool.release == before and level(pool).available == 3
    entries = [(entry.actor, entry.act) for entry in audit.of(pool)]
    assert entries == [("command line", "pool.rolled_back"), ("command line", "pool.activated")]


def test_a_canary_and_its_two_ends(pool: Pool, newer: Release) -> None:
    assert "25 %" in run("set_canary", "toon", newer.digest, "--share", "25")
    pool.refresh_from_db()
    assert (pool.canary, pool.canary_share) == (newer, 25)
    assert "not tried any more" in run("set_canary", "toon", "--stop")
    run("set_canary", "toon", newer.digest)
    assert newer.digest[:12] in run("set_canary", "toon", "--promote")
    pool.refresh_from_db()
    assert (pool.canary, pool.release) == (None, newer)


def test_a_pool_is_changed_paused_and_resumed(pool: Pool) -> None:
    said = run("edit_pool", "toon", "--name", "Heads", "--low", "3", "--high", "9", "--pause")
    assert "Heads, 3 to 9 images" in said and "paused" in said
    pool.refresh_from_db()
    assert (pool.low_watermark, pool.high_watermark, pool.paused) == (3, 9, True)
    assert "paused" not in run("edit_pool", "toon", "--resume")
    pool.refresh_from_db()
    assert not pool.paused
    assert [entry.act for entry in audit.of(pool)] == ["pool.resumed", "pool.edited"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["edit_pool", "toon"], "Say what to change"),
        (["edit_pool", "nowhere", "--pause"], "no pool 'nowhere'"),
        (["edit_pool", "toon", "--low", "900"], "watermark"),
        (["activate_release", "nowhere", "a" * 64], "no pool 'nowhere'"),
        (["activate_release", "toon", "a" * 64], "Give a release's digest"),
        (["rollback_pool", "toon"], "no other release"),
        (["set_canary", "toon"], "Give one of"),
        (["set_canary", "toon", "a" * 64, "--stop"], "Give one of"),
        (["set_canary", "toon", "--stop"], "tries no canary"),
        (["set_canary", "toon", "--promote"], "tries no canary"),
    ],
)
def test_refusals_are_told_and_change_nothing(pool: Pool, arguments: list[str], told: str) -> None:
    with pytest.raises(CommandError, match=told):
        run(*arguments)
    assert Pool.objects.get().version == 0 and not audit.of(pool).exists()


def test_a_draft_is_not_activated(pool: Pool) -> None:
    draft = make_release("draft", Release.State.DRAFT)
    with pytest.raises(CommandError, match="Preview it first"):
        run("activate_release", "toon", draft.digest)
