"""What nobody will be served goes; what somebody has stays."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from tests.webgui.making import deliver, make_batch, make_release
from webgui.buffer.activation import activate
from webgui.buffer.claim import claim
from webgui.buffer.ingest import ingest
from webgui.buffer.models import Avatar, AvatarTag, OldStock, Pool
from webgui.buffer.pictures import stored, variant
from webgui.buffer.renditions import render
from webgui.buffer.retention import prune
from webgui.registry.models import Release


def age(root: Path) -> None:
    """As if every file had been there for two hours."""
    past = time.time() - 7200
    for path in root.rglob("*"):
        os.utime(path, (past, past), follow_symlinks=False)


@pytest.fixture
def filled(pool: Pool, home: Path) -> Pool:
    batch = make_batch(pool, count=3)
    deliver(batch, tags=("smiling",))
    ingest(batch.pk)
    return pool


def test_what_was_discarded_goes_and_what_was_claimed_stays(filled: Pool, home: Path) -> None:
    mine = claim(client="visitor:a").avatar
    assert mine is not None
    activate(filled, make_release("newer"), "tests", OldStock.DISCARD)
    call_command("prune_buffer", "--dry-run")
    assert Avatar.objects.count() == 3
    call_command("prune_buffer")
    assert Avatar.objects.get() == mine
    assert stored(mine.digest).exists()
    assert len(list((home / "media").rglob("*.png"))) == 1
    assert not AvatarTag.objects.exists()


def test_what_is_still_handed_out_stays_though_its_release_is_retired(filled: Pool) -> None:
    old = filled.release
    activate(filled, make_release("newer"), "tests", OldStock.KEEP)
    old.refresh_from_db()
    assert old.state == Release.State.RETIRED
    call_command("prune_buffer")
    assert Avatar.objects.filter(state=Avatar.State.AVAILABLE).count() == 3


def test_discarded_ones_are_kept_for_a_rollback_and_not_for_ever(
    filled: Pool, settings: Any
) -> None:
    activate(filled, make_release("newer"), "tests", OldStock.DISCARD)
    past = timezone.now() - timedelta(days=settings.DISCARDED_DAYS)
    some = Avatar.objects.first()
    assert some is not None
    Avatar.objects.update(retired_at=past + timedelta(hours=1))
    Avatar.objects.filter(pk=some.pk).update(retired_at=past - timedelta(hours=1))
    assert prune(dry_run=True).avatars == prune().avatars == 1
    assert Avatar.objects.count() == 2 and not Avatar.objects.filter(pk=some.pk).exists()


def test_active_releases_lose_nothing(filled: Pool, home: Path) -> None:
    age(home)
    call_command("prune_buffer")
    assert Avatar.objects.count() == 3
    assert all(stored(avatar.digest).exists() for avatar in Avatar.objects.all())


def test_orphans_go_once_they_are_old(filled: Pool, home: Path) -> None:
    avatar = Avatar.objects.first()
    assert avatar is not None
    render(avatar, 64, "webp")
    orphans = [stored("ab" * 32), variant("ab" * 32, 64, "webp")]
    for orphan in orphans:
        orphan.parent.mkdir(parents=True, exist_ok=True)
        orphan.write_bytes(b"x")
    other = home / "media" / "avatars" / "README"
    other.write_text("not ours")
    left = home / "media" / "staging" / "batch"
    left.mkdir(parents=True)

    assert prune().files == 0  # an ingest might be about to write their rows
    age(home)
    assert prune().files == 2
    assert not any(orphan.exists() for orphan in orphans) and not left.exists()
    assert other.exists() and stored(avatar.digest).exists()
    assert variant(avatar.digest, 64, "webp").exists()


def test_uploads_never_finished_go_after_a_day(pool: Pool, home: Path) -> None:
    for name, hours in (("old", 25), ("young", 23)):
        upload = home / "sftp" / "inbox" / "tmp" / name
        upload.mkdir(parents=True)
        past = time.time() - hours * 3600
        os.utime(upload, (past, past))
    prune()
    assert [path.name for path in (home / "sftp" / "inbox" / "tmp").iterdir()] == ["young"]


def test_quarantine_is_kept_for_people_to_look_at_and_not_for_ever(pool: Pool, home: Path) -> None:
    for name, days in (("old", 15), ("young", 13)):
        place = home / "quarantine" / name
        (place / "delivered").mkdir(parents=True)
        past = time.time() - days * 86_400
        os.utime(place, (past, past))
    assert prune(dry_run=True).quarantined == 1
    assert prune().quarantined == 1
    assert [path.name for path in (home / "quarantine").iterdir()] == ["young"]


def test_the_clock_leaves_what_was_discarded_lately_alone(filled: Pool) -> None:
    activate(filled, make_release("newer"), "tests", OldStock.DISCARD)
    call_command("prune_buffer", "--orphans-only")
    assert Avatar.objects.count() == 3
