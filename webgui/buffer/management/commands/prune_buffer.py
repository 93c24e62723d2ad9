from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from webgui.buffer.retention import prune


class Command(BaseCommand):
    help = (
        "Remove discarded avatars (rolling back then brings none back), image files without an "
        "avatar, and what has long been in quarantine."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only count")
        parser.add_argument(
            "--orphans-only", action="store_true", help="leave what was discarded lately"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        pruned = prune(all_discarded=not options["orphans_only"], dry_run=options["dry_run"])
        self.stdout.write(f"{pruned}{' (dry run)' if options['dry_run'] else ''}")
