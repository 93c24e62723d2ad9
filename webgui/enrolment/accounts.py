"""Workers' accounts at the SFTP server: a file each, in a folder that it reads.

    <SFTP_ACCOUNTS>/worker-gpu1      restrict ssh-ed25519 AAAA… 20001

The last word is the user's number at an OpenSSH server (deploy/sftp); the embedded server takes
the line as it is. A file that is gone ends the worker's connections too.
"""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from generator_worker.contract import worker_account
from webgui.sftp.keys import HOST_KEY_NAME, write_atomically

from .models import Enrolment


def admit(enrolment: Enrolment) -> None:
    line = f"restrict {enrolment.public_key} {enrolment.uid}\n"
    write_atomically(_place(enrolment.name), line.encode(), mode=0o644)


def expel(worker: str) -> None:
    _place(worker).unlink(missing_ok=True)


def present() -> set[str]:
    """The accounts that are there."""
    return {path.name for path in _folder().glob("*") if not path.name.startswith(".")}


def host_key() -> str:
    """The server's public key line, which every worker pins; "" before its first start."""
    try:
        return (Path(settings.SFTP_ROOT) / HOST_KEY_NAME).read_text().strip()
    except FileNotFoundError:
        return ""


def _place(worker: str) -> Path:
    return _folder() / worker_account(worker)


def _folder() -> Path:
    folder: Path = settings.SFTP_ACCOUNTS
    folder.mkdir(parents=True, exist_ok=True)
    return folder
