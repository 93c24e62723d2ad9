from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from webgui.buffer.retention import prune


class Command(BaseCommand):
    help = (
        "Remove unclaimed avatars of retired releases, image files without an avatar, and what "
        "has long been in quarantine."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only count")
        parser.add_argument(
            "--orphans-only", action="store_true", help="leave avatars of retired releases"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        pruned = prune(retired=not options["orphans_only"], dry_run=options["dry_run"])
        self.stdout.write(f"{pruned}{' (dry run)' if options['dry_run'] else ''}")
