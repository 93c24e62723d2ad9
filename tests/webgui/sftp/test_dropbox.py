"""What a worker, or whoever has stolen its key, can and cannot do over SFTP."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import paramiko
import pytest

from tests.sftp_server import Served, serving
from webgui.sftp.keys import ensure_keys

BATCH = "2f6f3f44-6a7e-4d7c-9d0b-0d4ab6a3c111"


@pytest.fixture
def served(tmp_path) -> Iterator[Served]:
    with serving(tmp_path) as found:
        yield found


@contextlib.contextmanager
def ssh(served: Served, user="worker", key=None, **options) -> Iterator[paramiko.SSHClient]:
    with paramiko.SSHClient() as client:
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        pkey = paramiko.Ed25519Key.from_private_key_file(str(key or served.keys.worker_key))
        options = {"pkey": pkey, **options}
        client.connect(
            "127.0.0.1",
            served.port,
            username=user,
            allow_agent=False,
            look_for_keys=False,
            timeout=5,
            **options,
        )
        yield client


@pytest.fixture
def sftp(served) -> Iterator[paramiko.SFTPClient]:
    with ssh(served) as client, client.open_sftp() as found:
        yield found


DRAFT = f"inbox/tmp/{BATCH}.painter"
NEW = f"inbox/new/{BATCH}"


def drop(sftp, data=b"png"):
    sftp.mkdir(DRAFT)
    with sftp.open(f"{DRAFT}/1.png", "wb") as file:
        file.write(data)


def test_a_batch_goes_in_through_tmp_and_new(served, sftp):
    drop(sftp)
    assert sftp.listdir(DRAFT) == ["1.png"]
    sftp.posix_rename(DRAFT, NEW)
    there = served.root / "inbox" / "new" / BATCH / "1.png"
    assert there.read_bytes() == b"png"


def test_a_failed_upload_can_be_cleared(served, sftp):
    drop(sftp)
    sftp.remove(f"{DRAFT}/1.png")
    sftp.rmdir(DRAFT)
    assert list((served.root / "inbox" / "tmp").iterdir()) == []


def test_checkpoints_can_be_read_and_not_changed(served, sftp):
    (served.root / "checkpoints" / "abc").write_bytes(b"weights")
    with sftp.open("checkpoints/abc") as file:
        assert file.read() == b"weights"
        with pytest.raises(PermissionError):
            file.chmod(0o777)
    for attempt in (
        lambda: sftp.open("checkpoints/abc", "w"),
        lambda: sftp.open("checkpoints/abc", "r+"),
        lambda: sftp.open("checkpoints/new", "w"),
        lambda: sftp.remove("checkpoints/abc"),
        lambda: sftp.chmod("checkpoints/abc", 0o777),
        lambda: sftp.truncate("checkpoints/abc", 0),
        lambda: sftp.mkdir("checkpoints/folder"),
    ):
        with pytest.raises(PermissionError):
            attempt()
    assert (served.root / "checkpoints" / "abc").read_bytes() == b"weights"


def test_what_is_published_is_out_of_reach(served, sftp):
    drop(sftp)
    sftp.posix_rename(DRAFT, NEW)
    for attempt in (
        lambda: sftp.open(f"{NEW}/1.png", "w"),
        lambda: sftp.open(f"{NEW}/1.png"),
        lambda: sftp.remove(f"{NEW}/1.png"),
        lambda: sftp.mkdir("inbox/new/other"),
        lambda: sftp.posix_rename(NEW, DRAFT),
    ):
        with pytest.raises(PermissionError):
            attempt()


def test_a_published_batch_is_not_replaced(served, sftp):
    drop(sftp, data=b"first")
    sftp.posix_rename(DRAFT, NEW)
    drop(sftp, data=b"second")
    with pytest.raises(OSError, match="there already"):
        sftp.posix_rename(DRAFT, NEW)
    assert (served.root / "inbox" / "new" / BATCH / "1.png").read_bytes() == b"first"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (DRAFT, "inbox/new/other"),
        (f"{DRAFT}/1.png", NEW),
        (DRAFT, f"checkpoints/{BATCH}"),
        (DRAFT, f"inbox/tmp/../new/{BATCH}"),
        ("inbox/tmp", "inbox/new"),
    ],
)
def test_no_other_renaming(served, sftp, old, new):
    drop(sftp)
    with pytest.raises(PermissionError):
        sftp.posix_rename(old, new)
    with pytest.raises(PermissionError):
        sftp.rename(old, new)
    assert list((served.root / "inbox" / "new").iterdir()) == []


@pytest.mark.parametrize(
    "path",
    [
        "../secret_key",
        "inbox/tmp/../../../secret_key",
        "checkpoints/../../secret_key",
        "/../secret_key",
    ],
)
def test_nothing_outside_is_reached(served, sftp, path):
    (served.root.parent / "secret_key").write_text("secret")
    for attempt in (sftp.open, sftp.stat, sftp.lstat, sftp.listdir, sftp.remove):
        with pytest.raises(PermissionError):
            attempt(path)
    with pytest.raises(PermissionError):
        sftp.put(str(served.keys.authorized), path)


def test_links_are_neither_made_nor_followed(served, sftp):
    drop(sftp)
    with pytest.raises(PermissionError):
        sftp.symlink("/etc/passwd", f"{DRAFT}/link.png")
    (served.root / "checkpoints" / "way-out").symlink_to("/etc")
    for attempt in (
        lambda: sftp.open("checkpoints/way-out/passwd"),
        lambda: sftp.listdir("checkpoints/way-out"),
        lambda: sftp.stat("checkpoints/way-out/passwd"),
        lambda: sftp.readlink("checkpoints/way-out"),
    ):
        with pytest.raises(PermissionError):
            attempt()
    assert [path.name for path in (served.root / DRAFT).iterdir()] == ["1.png"]


def test_no_command_no_shell_no_forwarding(served):
    with ssh(served) as client:
        transport = client.get_transport()
        for ask in ("exec_command", "invoke_shell"):
            with pytest.raises(paramiko.SSHException):
                channel = transport.open_session(timeout=5)
                getattr(channel, ask)(*(["id"] if ask == "exec_command" else []))
        with pytest.raises(paramiko.ChannelException):
            transport.open_channel("direct-tcpip", ("127.0.0.1", 22), ("127.0.0.1", 1), timeout=5)
        with pytest.raises(paramiko.SSHException):
            transport.request_port_forward("127.0.0.1", 0)


def test_only_the_worker_and_only_by_its_key(served, tmp_path):
    stranger = ensure_keys(tmp_path / "other").worker_key
    for attempt in (
        {"key": stranger},
        {"user": "root"},
        {"pkey": None, "password": "worker"},
    ):
        with pytest.raises(paramiko.AuthenticationException), ssh(served, **attempt):
            pass


def test_a_key_is_withdrawn_while_the_server_runs(served):
    with ssh(served):
        pass
    served.keys.authorized.write_text("")
    with pytest.raises(paramiko.AuthenticationException), ssh(served):
        pass
