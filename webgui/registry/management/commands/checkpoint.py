from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from webgui.accounts import audit
from webgui.problems import Problem
from webgui.registry import checkpoints
from webgui.registry.models import Checkpoint

from .add_checkpoint import settled, told


class Command(BaseCommand):
    help = (
        "List the checkpoints, or tell one's report. With --inspect, have a refused one inspected "
        "again, perhaps saying what it is; with --delete, remove it and all that was made of it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", type=UUID, nargs="?", help="which one; without it all are listed")
        act = parser.add_mutually_exclusive_group()
        act.add_argument("--inspect", metavar="KIND", nargs="?", const="", help="inspect it again")
        act.add_argument("--delete", action="store_true", help="remove it for good")

    def handle(self, *args: Any, **options: Any) -> None:
        acts = options["inspect"] is not None or options["delete"]
        if options["id"] is None:
            if acts:
                raise CommandError("Say which checkpoint: give its id.")
            self._list()
            return
        try:
            self._one(checkpoints.find(options["id"]), options)
        except Problem as problem:
            raise CommandError(problem.detail) from problem

    def _list(self) -> None:
        for row in Checkpoint.objects.order_by("-created_at"):
            self.stdout.write(f"{row.pk}  {row.state:<12}  {row.kind or '-':<10}  {row.name}")

    def _one(self, found: Checkpoint, options: dict[str, Any]) -> None:
        if options["delete"]:
            checkpoints.delete(found, audit.COMMAND_LINE)
            self.stdout.write(f"Checkpoint {found.pk} is deleted.")
        elif options["inspect"] is not None:
            again = checkpoints.inspect_again(found, audit.COMMAND_LINE, options["inspect"])
            self.stdout.write(told(settled(again)))
        else:
            self.stdout.write(f"{found.name}: {found.state}. {found.reason}".rstrip())
            self.stdout.write(json.dumps(found.report, indent=2))
