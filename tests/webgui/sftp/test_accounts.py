"""Enrolled workers at the SFTP server: each by its own key, in its own drafts, until revoked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from tests.sftp_server import Served, serving
from tests.webgui.sftp.test_dropbox import BATCH, ssh
from webgui.sftp.keys import ensure_keys


@pytest.fixture
def served(tmp_path) -> Iterator[Served]:
    with serving(tmp_path) as found:
        yield found


def enrol(served: Served, folder: Path, name: str) -> Path:
    """A key pair of its own, and the line that admits it; the private key's path."""
    keys = ensure_keys(folder)
    accounts = served.root.parent / "keys" / "accounts"
    accounts.mkdir(exist_ok=True)
    (accounts / f"worker-{name}").write_text(keys.authorized.read_text() + " 20001")
    return keys.worker_key


def test_an_enrolled_worker_writes_and_publishes_its_own_drafts_alone(served, tmp_path):
    key = enrol(served, tmp_path / "painter", "painter")
    own, others = f"inbox/tmp/{BATCH}.painter", f"inbox/tmp/{BATCH}.sculptor"
    (served.root / others).mkdir()
    (served.root / others / "1.png").write_bytes(b"png")
    with ssh(served, "worker-painter", key) as client, client.open_sftp() as sftp:
        for theft in (
            lambda: sftp.open(f"{others}/2.png", "wb"),
            lambda: sftp.remove(f"{others}/1.png"),
            lambda: sftp.posix_rename(f"{others}/1.png", f"{others}/2.png"),
            lambda: sftp.posix_rename(others, f"inbox/new/{BATCH}"),
            lambda: sftp.mkdir(f"inbox/tmp/{BATCH}.painter.other"),
        ):
            with pytest.raises(PermissionError):
                theft()
        sftp.mkdir(own)
        with sftp.open(f"{own}/1.png", "wb") as file:
            file.write(b"png")
        sftp.posix_rename(own, f"inbox/new/{BATCH}")
    assert (served.root / "inbox" / "new" / BATCH / "1.png").read_bytes() == b"png"
    assert [path.name for path in (served.root / others).iterdir()] == ["1.png"]


@pytest.mark.parametrize("user", ["worker-sculptor", "worker-../worker-painter", "root"])
def test_a_key_opens_no_other_account(served, tmp_path, user):
    key = enrol(served, tmp_path / "painter", "painter")
    enrol(served, tmp_path / "sculptor", "sculptor")
    with pytest.raises(paramiko.AuthenticationException), ssh(served, user, key):
        pass


def test_who_is_revoked_is_shown_out_and_not_let_in_again(served, tmp_path):
    key = enrol(served, tmp_path / "painter", "painter")
    with ssh(served, "worker-painter", key) as client:
        (served.root.parent / "keys" / "accounts" / "worker-painter").unlink()
        deadline = time.monotonic() + 10
        while client.get_transport().is_active():
            assert time.monotonic() < deadline
            time.sleep(0.1)
    with pytest.raises(paramiko.AuthenticationException), ssh(served, "worker-painter", key):
        pass
