from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from webgui.accounts import audit
from webgui.buffer import activation, provision
from webgui.buffer.models import OldStock
from webgui.problems import Problem
from webgui.studio import previews


class Command(BaseCommand):
    help = (
        "Give a pool a release, from its next order on. keep: images of the release before are "
        "handed out before all others. mix: old and new at random. discard: old ones are not "
        "handed out; rolling back brings them back."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("pool", help="the pool's slug")
        parser.add_argument("digest", help="the release's digest, or 8 characters of its beginning")
        parser.add_argument("--old-stock", choices=OldStock.values, default=OldStock.MIX.value)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            pool, release = provision.find(options["pool"]), previews.release_of(options["digest"])
            pool = activation.activate(pool, release, audit.COMMAND_LINE, options["old_stock"])
        except Problem as problem:
            raise CommandError(problem.detail) from problem
        self.stdout.write(f"Pool {pool.slug}: {pool.release} from the next order on.")
