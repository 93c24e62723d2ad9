"""The SFTP client: ships one folder so that the server sees it whole or not at all.

Maildir's rule: files go to `inbox/tmp/<name>.<worker>/`, the manifest last, then one rename makes
`inbox/new/<name>/` visible: a batch's id, or a job's. (The worker's, because what was issued again
may be delivered by two workers at once, and their files must not mix.) Every wait is bounded: a
link that swallows all packets costs less than `GIVE_UP_SECONDS`, and the batch stays in the
outbox.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import errno
import logging
import socket
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from uuid import UUID

import paramiko

from generator_worker.config import Config
from generator_worker.contract import MANIFEST_NAME

TMP = PurePosixPath("inbox/tmp")
NEW = PurePosixPath("inbox/new")
CONNECT_SECONDS = 8.0
REPLY_SECONDS = 13.0
"""Waited for twice where the link dies in a file: paramiko closes the file over it once more."""
GIVE_UP_SECONDS = 35.0

# It logs every log-in and a traceback for every refused one; the courier says it in one line.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)


class DeliveryError(Exception):
    """The batch did not reach the server this time; the message says why."""


def deliver(config: Config, name: UUID | str, folder: Path) -> bool:
    """Upload a folder under this name. False if the server had it already.

    Raises DeliveryError. Safe to repeat at any time.
    """
    try:
        with session(config) as sftp:
            return _ship(sftp, f"{name}.{config.worker_name}", str(name), folder)
    except FileNotFoundError as error:
        if not folder.is_dir():
            return False  # the receipt came while we were at it
        raise DeliveryError(f"{_where(config)} has no {TMP}: is it our SFTP server?") from error
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise DeliveryError(explain(config, error)) from error


def _ship(sftp: paramiko.SFTPClient, draft: str, name: str, folder: Path) -> bool:
    tmp, new = str(TMP / draft), str(NEW / name)
    if _exists(sftp, new):
        return False
    files = sorted(path for path in folder.iterdir() if path.name != MANIFEST_NAME)
    _empty(sftp, tmp)
    try:
        for path in [*files, folder / MANIFEST_NAME]:
            # confirm: without it a full disk on the server looks like success.
            sftp.put(str(path), f"{tmp}/{path.name}", confirm=True)
    except FileNotFoundError:
        if not folder.is_dir():  # the receipt came while we were at it: leave no draft behind
            _empty(sftp, tmp)
            sftp.rmdir(tmp)
        raise
    try:
        sftp.posix_rename(tmp, new)
    except OSError:
        # Another run of this batch was quicker; anything else is a real failure.
        if not _exists(sftp, new):
            raise
        return False
    return True


def _empty(sftp: paramiko.SFTPClient, folder: str) -> None:
    """Make the folder, or clear what an interrupted upload left: strays spoil a batch."""
    try:
        left = sftp.listdir(folder)
    except FileNotFoundError:
        sftp.mkdir(folder)
        return
    for name in left:
        sftp.remove(f"{folder}/{name}")


def _exists(sftp: paramiko.SFTPClient, path: str) -> bool:
    try:
        sftp.stat(path)
    except FileNotFoundError:
        return False
    return True


@contextlib.contextmanager
def session(config: Config) -> Iterator[paramiko.SFTPClient]:
    """A connection to the server's SFTP side, on which no wait is without an end."""
    key = _private_key(config.sftp_key)
    with paramiko.SSHClient() as client:
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        host_key = _public_key(config.sftp_host_key)
        for name in (config.sftp_host, f"[{config.sftp_host}]:{config.sftp_port}"):
            client.get_host_keys().add(name, host_key.get_name(), host_key)
        with _socket(config) as sock:
            client.connect(
                config.sftp_host,
                config.sftp_port,
                username=config.sftp_user,
                pkey=key,
                sock=sock,
                timeout=CONNECT_SECONDS,
                banner_timeout=CONNECT_SECONDS,
                auth_timeout=CONNECT_SECONDS,
                channel_timeout=CONNECT_SECONDS,
                allow_agent=False,
                look_for_keys=False,
            )
            with client.open_sftp() as sftp:
                # Without it a peer gone silent blocks for ever.
                channel = sftp.get_channel()
                assert channel is not None  # noqa: S101
                channel.settimeout(REPLY_SECONDS)
                yield sftp


def _socket(config: Config) -> socket.socket:
    address = (config.sftp_host, config.sftp_port)
    sock = socket.create_connection(address, timeout=CONNECT_SECONDS)
    # paramiko leaves Nagle on, which makes many small files several times slower.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _private_key(path: Path) -> paramiko.Ed25519Key:
    try:
        return paramiko.Ed25519Key.from_private_key_file(str(path))
    except FileNotFoundError:
        raise DeliveryError(
            f"There is no key file {path}; set STYLEDIFFUSER_SFTP_KEY to this worker's "
            "Ed25519 private key."
        ) from None
    except paramiko.SSHException as error:
        raise DeliveryError(f"{path} is not an Ed25519 private key: {error}") from error


def _public_key(line: str) -> paramiko.Ed25519Key:
    try:
        kind, data = line.split()[:2]
        if kind != "ssh-ed25519":
            raise ValueError(kind)
        return paramiko.Ed25519Key(data=base64.b64decode(data, validate=True))
    except (ValueError, binascii.Error, paramiko.SSHException):
        raise DeliveryError(
            "STYLEDIFFUSER_SFTP_HOST_KEY must be the server's public key line, "
            f"`ssh-ed25519 AAAA…`; it is {line[:60]!r}."
        ) from None


def explain(config: Config, error: Exception) -> str:
    """What went wrong with a connection, in a line."""
    where = _where(config)
    if isinstance(error, paramiko.BadHostKeyException):
        return f"{where} showed another host key than the pinned one; not trusted."
    if isinstance(error, paramiko.AuthenticationException):
        return f"{where} does not accept the key {config.sftp_key}."
    if isinstance(error, TimeoutError):
        return f"{where} did not answer in time."
    if isinstance(error, OSError) and error.errno == errno.ECONNREFUSED:
        return f"{where} refuses connections: is the SFTP server up?"
    return f"{where}: {type(error).__name__}: {error}"


def _where(config: Config) -> str:
    return f"{config.sftp_user}@{config.sftp_host}:{config.sftp_port}"
