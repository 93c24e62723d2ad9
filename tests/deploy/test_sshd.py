"""Debian's sshd with our configuration: workers deliver and fetch, and do nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import paramiko
import pytest

from generator_worker.config import Config
from generator_worker.delivery import DeliveryError, deliver, session
from generator_worker.preflight import _server as look_at_the_server
from tests.deploy import processes
from tests.deploy.sftp_host import SftpHost


@pytest.fixture(scope="module")
def workers(host: SftpHost) -> tuple[Config, Config]:
    return tuple(Config.from_env(host.enrol(f"gpu{n}", 20_000 + n)) for n in (1, 2))


@pytest.fixture
def batch(tmp_path: Path) -> Path:
    folder = tmp_path / "batch"
    folder.mkdir()
    (folder / "1.png").write_bytes(b"a picture")
    (folder / "manifest.json").write_text("{}")
    return folder


@contextmanager
def client(worker: Config, **changes: str) -> Iterator[paramiko.SSHClient]:
    found = paramiko.SSHClient()
    found.set_missing_host_key_policy(paramiko.AutoAddPolicy())  # noqa: S507 (loopback)
    asked = {"username": worker.sftp_user, "key_filename": str(worker.sftp_key)} | changes
    try:
        found.connect(
            worker.sftp_host, worker.sftp_port, look_for_keys=False, allow_agent=False,
            timeout=10, **asked,
        )  # fmt: skip
        yield found
    finally:
        found.close()


def test_a_batch_arrives_whole_and_the_server_reads_and_removes_it(host, workers, batch):
    name = uuid4()
    assert deliver(workers[0], name, batch)
    assert not deliver(workers[0], name, batch)  # it is there already
    there = host.root / "inbox" / "new" / str(name)
    assert host.as_server(f"cat {there}/1.png").stdout == "a picture"
    done = host.as_server(f"rm -r {there}")
    assert done.returncode == 0, done.stderr
    assert not there.exists()


def test_the_preflight_finds_it_good(workers):
    findings = list(look_at_the_server(workers[0]))
    assert findings and {finding.level for finding in findings} == {"ok"}, findings


def test_checkpoints_are_read_and_not_written(host, workers):
    name = "a" * 64
    done = host.as_server(
        f"umask 077; echo weights > {host.root}/checkpoints/{name};"
        f"chmod 644 {host.root}/checkpoints/{name}"
    )
    assert done.returncode == 0, done.stderr
    with session(workers[0]) as sftp:
        with sftp.open(f"checkpoints/{name}") as file:
            assert file.read() == b"weights\n"
        for act in (
            lambda: sftp.open(f"checkpoints/{name}", "wb"),
            lambda: sftp.open("checkpoints/mine", "wb"),
            lambda: sftp.remove(f"checkpoints/{name}"),
            lambda: sftp.posix_rename(f"checkpoints/{name}", "inbox/new/x"),
        ):
            refused(act)


def refused(act: Callable[[], object]) -> None:
    with pytest.raises(OSError):
        act()


def test_there_is_no_way_out_of_the_folder(host, workers):
    with session(workers[0]) as sftp:
        mine = f"inbox/tmp/{uuid4()}.gpu1"
        sftp.mkdir(mine)
        assert sftp.normalize("/../../..") == "/"
        for act in (
            lambda: sftp.stat("/etc/passwd"),
            lambda: sftp.stat("../../../etc/passwd"),
            lambda: sftp.symlink("/etc/passwd", f"{mine}/link"),
            lambda: sftp.symlink("../../new", f"{mine}/link"),
            lambda: sftp._request(200, b"hardlink@openssh.com", b"host_key.pub", mine + "/hard"),
            lambda: sftp.readlink(mine),
            lambda: sftp.chmod(mine, 0o700),
            lambda: sftp.open("host_key.pub", "wb"),
            lambda: sftp.mkdir("elsewhere"),
            lambda: sftp.mkdir("inbox/elsewhere"),
            lambda: sftp.listdir("inbox/new"),
            lambda: sftp.listdir("inbox/tmp"),
            lambda: sftp.rmdir("inbox/new"),
        ):
            refused(act)
        sftp.rmdir(mine)


def test_another_workers_folder_is_closed(host, workers, batch):
    draft, whole = f"inbox/tmp/{uuid4()}.gpu1", uuid4()
    with session(workers[0]) as first, session(workers[1]) as second:
        first.mkdir(draft)
        with first.open(f"{draft}/1.png", "wb") as file:
            file.write(b"mine")
        assert deliver(workers[0], whole, batch)
        new = f"inbox/new/{whole}"
        for folder in (draft, new):
            for act in (
                lambda folder=folder: second.listdir(folder),
                lambda folder=folder: second.open(f"{folder}/1.png", "rb"),
                lambda folder=folder: second.open(f"{folder}/2.png", "wb"),
                lambda folder=folder: second.remove(f"{folder}/1.png"),
                lambda folder=folder: second.posix_rename(folder, f"inbox/new/{uuid4()}"),
                lambda folder=folder: second.rename(folder, f"inbox/tmp/{uuid4()}.gpu2"),
                lambda folder=folder: second.rmdir(folder),
            ):
                refused(act)
        assert host.as_server(f"cat {host.root}/{draft}/1.png").stdout == "mine"


def test_what_a_worker_hides_the_server_opens(host, workers):
    name = str(uuid4())
    with session(workers[0]) as sftp:
        sftp.mkdir(f"inbox/tmp/{name}.gpu1", mode=0o700)
        sftp.mkdir(f"inbox/tmp/{name}.gpu1/deep", mode=0o000)
        sftp.posix_rename(f"inbox/tmp/{name}.gpu1", f"inbox/new/{name}")
    there = host.root / "inbox" / "new" / name
    processes.wait("access", lambda: host.as_server(f"ls {there}/deep").returncode == 0)
    assert host.as_server(f"rm -r {there}").returncode == 0


def test_neither_shell_nor_tunnel_nor_another_way_in(workers):
    with client(workers[0]) as ssh:
        _, out, _ = ssh.exec_command("id; cat /etc/passwd", timeout=10)
        assert out.read() == b"This service allows sftp connections only.\n"
        transport = ssh.get_transport()
        with pytest.raises(paramiko.ChannelException):
            transport.open_channel("direct-tcpip", ("127.0.0.1", 22), ("127.0.0.1", 1))
        with pytest.raises(paramiko.SSHException):
            transport.request_port_forward("127.0.0.1", 0)
        with pytest.raises(paramiko.SSHException):
            transport.open_session().get_pty()
    for changes in (
        {"username": "root"},
        {"username": workers[1].sftp_user},
        {"username": "nobody"},
        {"key_filename": None, "password": "guess"},
    ):
        with pytest.raises((paramiko.SSHException, EOFError)), client(workers[0], **changes):
            pass


def test_a_revoked_key_ends_what_it_has_open(host, workers, batch):
    third = Config.from_env(host.enrol("gpu3", 20_003))
    account = host.accounts / "worker-gpu3"
    with session(third) as sftp:
        sftp.mkdir(f"inbox/tmp/{uuid4()}.gpu3")
        began = time.monotonic()
        account.unlink()
        with pytest.raises((OSError, EOFError, paramiko.SSHException)):
            while time.monotonic() < began + 20:
                sftp.stat("inbox")
                time.sleep(0.1)
    assert time.monotonic() - began < 10
    with pytest.raises(DeliveryError, match="does not accept the key"):
        deliver(third, uuid4(), batch)
    assert deliver(workers[0], uuid4(), batch)  # the others go on


def test_another_key_for_the_same_worker_ends_the_old_ones_connections(host):
    old = Config.from_env(host.enrol("gpu4", 20_004))
    old_key = Path(old.sftp_key).read_bytes()
    with session(old) as sftp:
        new = Config.from_env(host.enrol("gpu4", 20_004))
        with pytest.raises((OSError, EOFError, paramiko.SSHException)):
            for _ in range(100):
                sftp.stat("inbox")
                time.sleep(0.1)
    with session(new) as sftp:
        sftp.stat("inbox")
    Path(new.sftp_key).write_bytes(old_key)
    with pytest.raises(paramiko.AuthenticationException), session(new):
        pass


OTHER_FORMS = [
    "ssh-ed25519 AAAA 20009",
    'restrict,command="id" ssh-ed25519 AAAA 20009',
    "restrict ssh-rsa AAAA 20009",
    "restrict ssh-ed25519 AAAA 0",
    "restrict ssh-ed25519 AAAA 1000",
    "restrict ssh-ed25519 AAAA 20009 more",
    "restrict ssh-ed25519 $(id) 20009",
    "",
]


def test_an_account_of_another_form_makes_no_user(host):
    for number, line in enumerate(OTHER_FORMS):
        (host.accounts / f"worker-bad{number}").write_text(f"{line}\n")
    (host.accounts / "root").write_text("restrict ssh-ed25519 AAAA 20009\n")
    host.enrol("gpu5", 20_005)  # a later look has been at it, so it was at these as well
    keys = host.folder / "run" / "keys"
    assert [path.name for path in keys.glob("*") if "worker-gpu" not in path.name] == []
