from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from webgui.backup import restoring
from webgui.backup.archive import BackupFault

SHOWN = 10


class Command(BaseCommand):
    help = (
        "Bring a backup into an empty database and the server's folders, while nothing else of it "
        "runs. Pictures that may have been handed out since are not handed out again."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("dir", type=Path)
        parser.add_argument("--backup", default="", metavar="NAME", help="not the latest, but this")
        parser.add_argument(
            "--moved",
            action="store_true",
            help="the server was stopped before the backup: its buffer is still good",
        )
        parser.add_argument("--check", action="store_true", help="read all of it, change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["check"]:
                backup = restoring.check(options["dir"], options["backup"])
                self.stdout.write(f"{backup.folder.name} is whole: {backup.about['files']} files.")
                return
            done = restoring.restore(options["dir"], options["backup"], options["moved"])
        except (BackupFault, OSError, ValueError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Restored: the database and {done.files} files.")
        if done.withdrawn is not None:
            self.stdout.write(
                f"Not handed out again: {done.withdrawn.avatars} pictures. Given up: "
                f"{done.withdrawn.orders} orders."
            )
        self.stdout.write("Now run: manage.py sync_workers")
        if done.lacking:
            raise CommandError(
                "\n".join([f"{len(done.lacking)} files that rows name are in no place:"]
                          + [str(path) for path in done.lacking[:SHOWN]])
            )  # fmt: skip
