"""What lies in the inbox or where it is moved to, apart from a delivery's content."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from tests.webgui.making import deliver, inbox, make_batch, quarantined
from webgui.buffer import ingest as module
from webgui.buffer.ingest import Outcome, ingest, sweep
from webgui.buffer.models import Pool


@pytest.mark.parametrize("name", ["stray.txt", "not-a-batch", "F" * 32])
def test_strays_in_the_inbox_are_moved_away(pool: Pool, home: Path, name: str) -> None:
    inbox("x").mkdir(parents=True)
    inbox("x").rename(inbox(name))
    assert sweep() == {Outcome.QUARANTINED: 1}
    assert not inbox(name).exists()


def test_a_link_or_file_in_a_batchs_place_is_moved_not_followed(pool: Pool, home: Path) -> None:
    secret = home / "secret"
    secret.mkdir()
    (secret / "manifest.json").write_text("{}")
    linked, plain = make_batch(pool), make_batch(pool)
    inbox("x").parent.mkdir(parents=True)
    inbox(linked.pk).symlink_to(secret)
    inbox(plain.pk).write_text("hello")
    assert sweep() == {Outcome.QUARANTINED: 2}
    linked.refresh_from_db()
    assert "not a folder that" in linked.reason
    assert (secret / "manifest.json").exists()


class TestOtherFileSystem:
    """Quarantine where a rename does not lead."""

    @pytest.fixture(autouse=True)
    def no_rename(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def rename(*_: object) -> None:
            raise OSError(errno.EXDEV, "Invalid cross-device link")

        monkeypatch.setattr(os, "rename", rename)

    def test_what_was_delivered_is_copied(self, pool: Pool, home: Path) -> None:
        batch = make_batch(pool, count=1)
        folder = deliver(batch, contract=9)
        (folder / "link").symlink_to(home)
        os.mkfifo(folder / "pipe")
        assert ingest(batch.pk) == Outcome.QUARANTINED
        ((delivered, reason),) = quarantined(home)
        assert "contract 9" in reason and not folder.exists()
        assert (delivered / "1000.png").exists() and (delivered / "link").is_symlink()
        assert not (delivered / "pipe").exists()

    def test_a_move_that_fails_leaves_nothing_half_done(
        self, pool: Pool, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        batch = make_batch(pool, count=1)
        folder = deliver(batch, contract=9)

        def full(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(module.inbox.shutil, "copy2", full)
            with pytest.raises(OSError, match="No space"):
                ingest(batch.pk)
        assert (folder / "1000.png").exists() and not quarantined(home)
        assert ingest(batch.pk) == Outcome.KNOWN
        assert len(quarantined(home)) == 1 and not folder.exists()


def test_a_delivery_that_cannot_be_removed_is_told_of(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    batch = make_batch(pool, count=1)
    deliver(batch)

    def denied(*_: object, **__: object) -> None:
        raise PermissionError("denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "rmdir", denied)
        module.inbox.remove(batch.pk)
    assert "cannot be removed from the inbox" in caplog.text
    module.inbox.remove(batch.pk)
    module.inbox.remove(batch.pk)
    assert not inbox(batch.pk).exists()


def test_what_vanishes_while_the_inbox_is_listed_is_passed_over(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, there = (deliver(make_batch(pool, count=1)) for _ in range(2))
    listed = list(os.scandir(gone.parent))
    shutil.rmtree(gone)
    monkeypatch.setattr(os, "scandir", lambda _: listed)
    assert module.inbox.waiting_names() == [there.name]
