"""What a backup keeps, what it notices, and what it refuses."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

import pytest
from django.utils import timezone

from tests.webgui.making import deliver, make_batch, stock
from webgui.backup import databases, restoring, taking
from webgui.backup.archive import Archive, BackupFault, Damaged
from webgui.backup.withdrawal import withdraw
from webgui.buffer.claim import claim
from webgui.buffer.ingest import ingest
from webgui.buffer.models import Avatar, Batch, Pool
from webgui.buffer.pictures import stored
from webgui.buffer.problems import NoWorkerAlive
from webgui.registry.models import Checkpoint


@pytest.fixture
def full(pool: Pool, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A server with pictures, a checkpoint and keys; the tests' database is not one to copy."""
    monkeypatch.setattr(databases, "dump", lambda target: target.write_bytes(b"rows"))
    batch = make_batch(pool)
    deliver(batch)
    ingest(batch.pk)
    (home / "sftp" / "checkpoints").mkdir(exist_ok=True)
    (home / "sftp" / "checkpoints" / ".draft").write_bytes(b"half")
    (home / "keys").mkdir()
    (home / "keys" / "sftp_host_key").write_text("a key")
    (home / "keys" / "sftp_host_key").chmod(0o600)
    return home


def test_what_is_there_already_is_not_copied_again(full, tmp_path):
    root = tmp_path / "kept"
    one = taking.take(root).backup
    inodes = {path: path.stat().st_ino for path in root.glob("objects/*/*")}
    two = taking.take(root).backup
    pictures = [entry for entry in two.entries() if entry.path.startswith("media/")]
    assert len(pictures) == 4
    for entry in pictures:
        path = root / "objects" / entry.sha256[:2] / entry.sha256
        assert path.stat().st_ino == inodes[path]
    paths = [entry.path for entry in one.entries()]
    assert "home/keys/sftp_host_key" in paths
    assert not [path for path in paths if ".draft" in path or "inbox" in path]
    assert (root.stat().st_mode & 0o777, Archive(root).find("").folder) == (0o700, two.folder)


def test_older_backups_go_with_what_only_they_had(full, tmp_path):
    root = tmp_path / "kept"
    taking.take(root)
    gone = stored(Avatar.objects.first().digest)
    gone.unlink()
    assert taking.take(root, keep=1).removed == 1
    assert len(Archive(root).backups()) == 1
    assert gone.stem not in {path.name for path in root.glob("objects/*/*")}
    assert restoring.check(root).about["files"] == 4


def test_a_picture_that_has_rotted_is_told_and_the_good_copy_stays(full, tmp_path):
    root = tmp_path / "kept"
    rotten = stored(Avatar.objects.first().digest)
    good = rotten.read_bytes()
    rotten.write_bytes(good[:-1])
    taken = taking.take(root)
    assert taken.damaged == [f"{rotten} is not what its name says."]
    rotten.write_bytes(good)
    assert taking.take(root).damaged == []
    rotten.write_bytes(b"x" * len(good))
    assert taking.take(root).damaged == []  # not read again
    assert restoring.check(root)


def test_a_backup_that_has_rotted_is_told_before_anything_is_changed(full, tmp_path):
    root = tmp_path / "kept"
    backup = taking.take(root).backup
    entry = next(backup.entries())
    place = root / "objects" / entry.sha256[:2] / entry.sha256
    content = place.read_bytes()
    place.write_bytes(b"x" * len(content))
    with pytest.raises(BackupFault, match=f"(?s)1 files are damaged.*{entry.path}"):
        restoring.check(root)
    place.unlink()
    with pytest.raises(BackupFault, match="is not in the backup"):
        restoring.check(root)
    place.write_bytes(content)
    (backup.folder / "database").write_bytes(b"other rows")
    with pytest.raises(BackupFault, match="is not what it was"):
        restoring.check(root)


def test_a_file_comes_back_whole_or_not_at_all(full, tmp_path):
    root = tmp_path / "kept"
    backup = taking.take(root).backup
    entries = {entry.path: entry for entry in backup.entries()}
    key = entries["home/keys/sftp_host_key"]
    archive, target = Archive(root), tmp_path / "elsewhere" / "key"
    archive.fetch(key, target)
    assert (target.read_text(), target.stat().st_mode & 0o777) == ("a key", 0o600)
    (root / "objects" / key.sha256[:2] / key.sha256).write_text("other")
    with pytest.raises(Damaged):
        archive.fetch(key, target)
    assert [path.read_text() for path in target.parent.iterdir()] == ["a key"]


@pytest.mark.parametrize("path", ["media/../../x", "media//etc/passwd", "elsewhere/x", ""])
def test_a_backup_writes_nowhere_but_in_the_servers_folders(home, path):
    from webgui.backup import shelves

    with pytest.raises(ValueError, match="leads out"):
        shelves.place(path)


def test_there_is_one_backup_at_a_time_and_a_killed_ones_draft_goes(full, tmp_path):
    root = tmp_path / "kept"
    root.mkdir()
    draft = root / ".20260101T000000000Z"
    draft.mkdir()
    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BackupFault, match="Another backup"):
            taking.take(root)
    taking.take(root)
    assert not draft.exists()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"database": "oracle"}, "backup of oracle"),
        ({"migrations": ["buffer.9999_later"]}, "buffer.9999_later"),
        ({"format": 2}, "newer version"),
        ({}, "not empty"),
    ],
)
def test_it_is_refused_where_it_does_not_belong(full, tmp_path, change, why):
    root = tmp_path / "kept"
    backup = taking.take(root).backup
    (backup.folder / "backup.json").write_text(json.dumps(backup.about | change))
    with pytest.raises(BackupFault, match=why):
        restoring.restore(root)


def test_without_a_backup_and_of_an_unknown_name(full, tmp_path):
    with pytest.raises(BackupFault, match="no whole backup"):
        restoring.check(tmp_path / "nothing")
    name = taking.take(tmp_path / "kept").backup.folder.name
    with pytest.raises(BackupFault, match=name):
        restoring.check(tmp_path / "kept", "another")


def test_what_may_have_been_handed_out_since_is_not_handed_out_again(full, pool, tmp_path):
    backup = taking.take(tmp_path / "kept").backup
    claimed = claim(client="visitor:a").avatar
    retired, *rest = stock(pool, 3, ("smiling",))
    Avatar.objects.filter(pk=retired.pk).update(state="retired", retired_at=timezone.now())
    order = make_batch(pool)
    Checkpoint.objects.create(name="half", size=10)
    done = withdraw(backup)
    assert (done.avatars, done.orders, done.uploads) == (6, 1, 1)
    assert Avatar.objects.exclude(state="claimed").count() == 0
    order.refresh_from_db()
    claimed.refresh_from_db()
    assert (order.state, claimed.claimed_by) == (Batch.State.FAILED, "visitor:a")
    given = Avatar.objects.filter(pk__in=[row.pk for row in (retired, *rest)])
    assert set(given.values_list("claimed_by", flat=True)) == {""}
    with pytest.raises(NoWorkerAlive):
        claim(client="visitor:a")
