from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from webgui.accounts import audit
from webgui.buffer import activation, provision
from webgui.buffer.models import OldStock
from webgui.problems import Problem


class Command(BaseCommand):
    help = (
        "Give a pool the release it had before. Its images that were discarded come back; those "
        "of the release it leaves are discarded, or treated as --old-stock says."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("pool", help="the pool's slug")
        parser.add_argument("--old-stock", choices=OldStock.values, default=OldStock.DISCARD.value)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            pool = provision.find(options["pool"])
            pool = activation.roll_back(pool, audit.COMMAND_LINE, options["old_stock"])
        except Problem as problem:
            raise CommandError(problem.detail) from problem
        self.stdout.write(f"Pool {pool.slug}: back to {pool.release}.")
