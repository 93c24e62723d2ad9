from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from webgui.accounts import audit
from webgui.buffer import activation, canary, provision
from webgui.buffer.models import OldStock, Pool
from webgui.problems import Problem
from webgui.studio import previews


class Command(BaseCommand):
    help = (
        "Try a release on a share of a pool's orders; or end that, by giving it all of them "
        "(--promote) or none (--stop). --old-stock is for the images of the release that the pool "
        "leaves: mix where a canary is promoted, discard where it is stopped, unless told."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("pool", help="the pool's slug")
        parser.add_argument("digest", nargs="?", help="the release's, or 8 characters of it")
        parser.add_argument("--share", type=int, default=canary.SHARE, help="percent of the orders")
        parser.add_argument("--promote", action="store_true", help="give it all orders")
        parser.add_argument("--stop", action="store_true", help="give it no more orders")
        parser.add_argument("--old-stock", choices=OldStock.values)

    def handle(self, *args: Any, **options: Any) -> None:
        wanted = [bool(options["digest"]), options["promote"], options["stop"]]
        if sum(wanted) != 1:
            raise CommandError("Give one of: a release's digest, --promote, --stop.")
        try:
            self.stdout.write(self._act(provision.find(options["pool"]), options))
        except Problem as problem:
            raise CommandError(problem.detail) from problem

    def _act(self, pool: Pool, options: dict[str, Any]) -> str:
        actor, old_stock = audit.COMMAND_LINE, options["old_stock"]
        if options["stop"]:
            tried = canary.current(pool)
            canary.stop(pool, actor, old_stock or OldStock.DISCARD)
            return f"Pool {pool.slug}: {tried} is not tried any more."
        if options["promote"]:
            release = canary.current(pool)
            activation.activate(pool, release, actor, old_stock or OldStock.MIX)
            return f"Pool {pool.slug}: {release} from the next order on."
        release = previews.release_of(options["digest"])
        canary.start(pool, release, actor, options["share"])
        return f"Pool {pool.slug}: {options['share']} % of the orders with {release}."
