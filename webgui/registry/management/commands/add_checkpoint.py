from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from webgui.accounts import audit
from webgui.problems import Problem
from webgui.registry import checkpoints, uploads
from webgui.registry.models import Checkpoint
from webgui.registry.receiving import receive

LOOK_SECONDS = 0.5


class Command(BaseCommand):
    help = (
        "Bring a checkpoint that lies on this machine, as the upload page brings one, and wait for "
        "what its inspection finds. Exits with 1 where it is refused; a file that is here already "
        "is not kept twice."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="a pickle, safetensors, ckpt, pt or zip")
        parser.add_argument("--no-wait", action="store_true", help="leave it to its inspection")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            checkpoint = _bring(options["file"])
        except Problem as problem:
            raise CommandError(problem.detail) from problem
        except OSError as error:
            raise CommandError(f"{options['file']}: {error.strerror}.") from error
        self.stdout.write(f"Checkpoint {checkpoint.pk}")
        if not options["no_wait"]:
            self.stdout.write(told(settled(checkpoint)))


def _bring(path: Path) -> Checkpoint:
    with path.open("rb") as file:
        length = path.stat().st_size
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        upload = uploads.begin(uploads.Announcement(length, path.name, sha256), None)
        if not upload.whole:
            file.seek(upload.offset)
            receive(upload, upload.offset, length - upload.offset, file.read, None)
    return uploads.finish(uploads.find(upload.pk), audit.COMMAND_LINE).checkpoint


def settled(checkpoint: Checkpoint) -> Checkpoint:
    """Once its inspection is over."""
    while checkpoint.state == Checkpoint.State.INSPECTING:
        time.sleep(LOOK_SECONDS)
        checkpoint = checkpoints.find(checkpoint.pk)
    return checkpoint


def told(checkpoint: Checkpoint) -> str:
    """What was found; CommandError where it is of no use."""
    if checkpoint.state != Checkpoint.State.READY:
        raise CommandError(f"{checkpoint.state}: {checkpoint.reason}")
    return f"{checkpoint.state}: {checkpoint.kind}"
