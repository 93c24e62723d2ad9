from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from webgui.backup.archive import BackupFault
from webgui.backup.taking import take


class Command(BaseCommand):
    help = (
        "Back up the database, all pictures and checkpoints, and the server's keys into DIR, while "
        "the server works. What DIR has from earlier backups is not copied again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("dir", type=Path)
        parser.add_argument("--keep", type=int, default=0, metavar="N", help="and no older ones")

    def handle(self, *args: Any, dir: Path, keep: int, **options: Any) -> None:
        if keep < 0:
            raise CommandError("--keep must be 1 or more.")
        try:
            taken = take(dir, keep)
        except (BackupFault, OSError) as error:
            raise CommandError(str(error)) from error
        about = taken.backup.about
        self.stdout.write(
            f"{taken.backup.folder}: the database and {about['files']} files, "
            f"{about['bytes'] / 2**20:.1f} MiB. Older backups removed: {taken.removed}."
        )
        if taken.damaged:
            raise CommandError(
                "\n".join(["The backup is there, without these files:", *taken.damaged])
            )
