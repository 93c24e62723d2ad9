from __future__ import annotations

import socket
import threading
import time
from dataclasses import replace

import paramiko
import pytest

from generator_worker import delivery
from generator_worker.delivery import DeliveryError, deliver


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_ships_a_batch_whole(connected, sftp, outbox, spooled):
    batch_id = spooled(images=5, size=70_000)
    assert deliver(connected, batch_id, outbox.folder(batch_id))
    there = sftp.root / "inbox" / "new" / str(batch_id)
    assert names(there) == names(outbox.folder(batch_id))
    for path in outbox.folder(batch_id).iterdir():
        assert (there / path.name).read_bytes() == path.read_bytes()
    assert names(sftp.root / "inbox" / "tmp") == set()
    assert outbox.holds(batch_id)


def test_a_batch_already_there_counts_as_delivered(connected, sftp, outbox, spooled):
    batch_id = spooled()
    deliver(connected, batch_id, outbox.folder(batch_id))
    assert deliver(connected, batch_id, outbox.folder(batch_id)) is False


def test_goes_on_after_an_interrupted_upload_and_removes_its_strays(
    connected, sftp, outbox, spooled
):
    batch_id = spooled()
    left = sftp.root / "inbox" / "tmp" / f"{batch_id}.painter"
    left.mkdir()
    (left / "0.png").write_bytes(b"half")
    (left / "77.png").write_bytes(b"of another try")
    assert deliver(connected, batch_id, outbox.folder(batch_id))
    there = sftp.root / "inbox" / "new" / str(batch_id)
    assert names(there) == names(outbox.folder(batch_id))
    assert (there / "0.png").stat().st_size == 5000


def test_two_workers_with_one_batch_do_not_mix_their_files(connected, sftp, outbox, spooled):
    batch_id = spooled()
    other = sftp.root / "inbox" / "tmp" / f"{batch_id}.other-worker"
    other.mkdir()
    (other / "0.png").write_bytes(b"on its way")
    assert deliver(connected, batch_id, outbox.folder(batch_id))
    assert (other / "0.png").read_bytes() == b"on its way"
    again = replace(connected, worker_name="other-worker")
    assert deliver(again, batch_id, outbox.folder(batch_id)) is False


def test_the_manifest_goes_last(connected, outbox, spooled, monkeypatch):
    order = []
    put = paramiko.SFTPClient.put

    def noting(self, local, remote, **options):
        assert options["confirm"] is True
        order.append(remote.rpartition("/")[2])
        return put(self, local, remote, **options)

    monkeypatch.setattr(paramiko.SFTPClient, "put", noting)
    batch_id = spooled()
    deliver(connected, batch_id, outbox.folder(batch_id))
    assert order == ["0.png", "1.png", "manifest.json"]


def test_a_batch_settled_meanwhile_is_no_error(connected, outbox, spooled):
    batch_id = spooled()
    outbox.settle(batch_id)
    assert deliver(connected, batch_id, outbox.folder(batch_id)) is False


def test_a_receipt_halfway_through_leaves_no_draft(connected, sftp, outbox, spooled, monkeypatch):
    batch_id, put = spooled(), paramiko.SFTPClient.put

    def receipted(self, local, remote, **options):
        put(self, local, remote, **options)
        outbox.settle(batch_id)

    monkeypatch.setattr(paramiko.SFTPClient, "put", receipted)
    assert deliver(connected, batch_id, outbox.folder(batch_id)) is False
    assert names(sftp.root / "inbox" / "tmp") == names(sftp.root / "inbox" / "new") == set()


def test_refuses_a_server_that_shows_another_host_key(connected, sftp, outbox, spooled, tmp_path):
    other = paramiko.Ed25519Key.from_private_key_file(str(sftp.keys.worker_key))
    wrong = replace(connected, sftp_host_key=f"ssh-ed25519 {other.get_base64()}")
    batch_id = spooled()
    with pytest.raises(DeliveryError, match="another host key"):
        deliver(wrong, batch_id, outbox.folder(batch_id))
    assert names(sftp.root / "inbox" / "tmp") == set()


def test_says_when_its_own_key_is_not_accepted(connected, sftp, outbox, spooled):
    stranger = replace(connected, sftp_key=sftp.keys.host_key)
    batch_id = spooled()
    with pytest.raises(DeliveryError, match="does not accept the key"):
        deliver(stranger, batch_id, outbox.folder(batch_id))


@pytest.mark.parametrize("line", ["", "ssh-rsa AAAA", "ssh-ed25519 !!!", "ssh-ed25519 AAAA"])
def test_needs_a_pinned_host_key(connected, outbox, spooled, line):
    batch_id = spooled()
    with pytest.raises(DeliveryError, match="SFTP_HOST_KEY must be"):
        deliver(replace(connected, sftp_host_key=line), batch_id, outbox.folder(batch_id))


def test_names_a_missing_or_unusable_key_file(connected, outbox, spooled, tmp_path):
    batch_id = spooled()
    folder = outbox.folder(batch_id)
    with pytest.raises(DeliveryError, match=r"nowhere; set STYLEDIFFUSER_SFTP_KEY"):
        deliver(replace(connected, sftp_key=tmp_path / "nowhere"), batch_id, folder)
    (tmp_path / "junk").write_text("junk")
    with pytest.raises(DeliveryError, match="not an Ed25519 private key"):
        deliver(replace(connected, sftp_key=tmp_path / "junk"), batch_id, folder)


def test_says_when_nobody_listens(connected, outbox, spooled):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    batch_id = spooled()
    with pytest.raises(DeliveryError, match="is the SFTP server up"):
        deliver(replace(connected, sftp_port=port), batch_id, outbox.folder(batch_id))


def test_a_folder_that_is_no_inbox_is_said_so(connected, sftp, outbox, spooled):
    (sftp.root / "inbox" / "tmp").rmdir()
    batch_id = spooled()
    with pytest.raises(DeliveryError, match="has no inbox/tmp"):
        deliver(connected, batch_id, outbox.folder(batch_id))


class Swallow(threading.Thread):
    """A relay to the SFTP server that stops passing anything on after some bytes: the
    connection stays open and silent, as behind a dead router."""

    def __init__(self, port: int, after: int) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.upstream, self.left = port, after
        self.sockets: list[socket.socket] = []

    def run(self) -> None:
        client, _ = self.listener.accept()
        server = socket.create_connection(("127.0.0.1", self.upstream))
        self.sockets += [client, server]
        threading.Thread(target=self.pump, args=(server, client), daemon=True).start()
        self.pump(client, server)

    def pump(self, source: socket.socket, target: socket.socket) -> None:
        while self.left > 0:
            data = source.recv(16384)
            self.left -= len(data)
            if not data:
                return
            if self.left > 0:
                target.sendall(data)

    def close(self) -> None:
        for sock in [self.listener, *self.sockets]:
            sock.close()


@pytest.mark.parametrize("after", [0, 600, 300_000], ids=["greeting", "log-in", "upload"])
def test_a_black_hole_costs_bounded_time_and_no_batch(
    connected, sftp, outbox, spooled, monkeypatch, after
):
    assert delivery.CONNECT_SECONDS + 2 * delivery.REPLY_SECONDS < delivery.GIVE_UP_SECONDS
    monkeypatch.setattr(delivery, "CONNECT_SECONDS", 1.0)
    monkeypatch.setattr(delivery, "REPLY_SECONDS", 1.0)
    batch_id = spooled(images=8, size=200_000)
    hole = Swallow(sftp.port, after)
    hole.start()
    began = time.monotonic()
    port = hole.listener.getsockname()[1]
    with pytest.raises(DeliveryError):
        deliver(replace(connected, sftp_port=port), batch_id, outbox.folder(batch_id))
    assert time.monotonic() - began < 6
    hole.close()
    assert outbox.waiting() == [batch_id]
    assert names(sftp.root / "inbox" / "new") == set()
    assert deliver(connected, batch_id, outbox.folder(batch_id))
