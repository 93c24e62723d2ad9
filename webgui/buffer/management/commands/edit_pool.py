from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from webgui.accounts import audit
from webgui.buffer import provision
from webgui.problems import Problem


class Command(BaseCommand):
    help = (
        "Change a pool's name, watermarks or batch size, pause its orders or resume them. Which "
        "release it has is activate_release's."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("pool", help="the pool's slug")
        parser.add_argument("--name", help="what visitors read")
        parser.add_argument("--low", type=int, dest="low_watermark", help="the low watermark")
        parser.add_argument("--high", type=int, dest="high_watermark", help="the high watermark")
        parser.add_argument("--batch-size", type=int, help="the most images of one order")
        orders = parser.add_mutually_exclusive_group()
        orders.add_argument("--pause", action="store_true", default=None, dest="paused")
        orders.add_argument("--resume", action="store_false", default=None, dest="paused")

    def handle(self, *args: Any, **options: Any) -> None:
        given = {name: options[name] for name in provision.EDITED if options[name] is not None}
        if not given:
            raise CommandError("Say what to change: see `manage.py edit_pool --help`.")
        try:
            pool = provision.edit_pool(provision.find(options["pool"]), audit.COMMAND_LINE, **given)
        except Problem as problem:
            raise CommandError(problem.detail) from problem
        self.stdout.write(
            f"Pool {pool.slug}: {pool.name}, {pool.low_watermark} to {pool.high_watermark} images, "
            f"at most {pool.batch_size} an order{', paused' if pool.paused else ''}."
        )
