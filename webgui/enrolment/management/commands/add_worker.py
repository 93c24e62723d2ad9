from __future__ import annotations

import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from generator_worker.contract import worker_account
from webgui.accounts import audit
from webgui.enrolment import accounts, admission, broker


class Command(BaseCommand):
    help = (
        "Enrol a worker: make its account at the broker and at the SFTP server, and print the "
        "settings it needs and its private key. They are shown only now."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="the worker's name, unique for ever")
        parser.add_argument("--public-key", default="", help="the worker's own, if it has made one")
        parser.add_argument("--out", type=Path, help="write generator.env and worker_key there")
        parser.add_argument("--anew", action="store_true", help="replace an enrolled one's secrets")

    def handle(self, *args: Any, **options: Any) -> None:
        name, out = options["name"], options["out"]
        host_key = accounts.host_key()
        if not host_key:
            raise CommandError("The SFTP server has not made its key yet: start it first.")
        if out is not None and (out / "generator.env").exists():
            raise CommandError(f"{out}/generator.env is there already: choose another --out.")
        try:
            made = admission.admit(
                name, options["public_key"], audit.COMMAND_LINE, anew=options["anew"]
            )
        except (admission.Refusal, broker.BrokerFault) as error:
            raise CommandError(str(error)) from error
        lines = _settings(name, made.password, host_key)
        if out is None:
            self.stdout.write(lines)
            if made.private_key:
                self.stdout.write(made.private_key)
            return
        out.mkdir(parents=True, exist_ok=True)
        _write(out / "generator.env", lines)
        if made.private_key:
            _write(out / "worker_key", made.private_key)
        self.stdout.write(f"Bring {out} to the worker, then delete it here: {_names(out)}.")


def _settings(name: str, password: str, host_key: str) -> str:
    sftp, _, port = settings.WORKERS_SFTP.rpartition(":")
    where = urlsplit(settings.WORKERS_BROKER)
    address = where.netloc.rpartition("@")[2]
    url = where._replace(netloc=f"{worker_account(name)}:{quote(password)}@{address}").geturl()
    values = {
        "WORKER_NAME": name,
        "BROKER_URL": url,
        "SFTP_HOST": sftp,
        "SFTP_PORT": port,
        "SFTP_HOST_KEY": host_key,
    }
    return "".join(f"STYLEDIFFUSER_{key}={value}\n" for key, value in values.items())


def _write(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)


def _names(folder: Path) -> str:
    return ", ".join(sorted(path.name for path in folder.iterdir()))
