from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_slug

from webgui.accounts import audit
from webgui.buffer.provision import point_pool
from webgui.registry.loading import BadBundle, activate, load_bundle

SIZES = {"low": "low_watermark", "high": "high_watermark", "batch_size": "batch_size"}


class Command(BaseCommand):
    help = (
        "Bring a release bundle into the registry. With --pool, the pool generates with it from "
        "its next order on (and is created if there is none). Loading twice changes nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, help="the folder that holds release.json")
        parser.add_argument("--activate", action="store_true", help="make the release active")
        parser.add_argument("--pool", metavar="SLUG", help="point this pool at the release")
        parser.add_argument("--pool-name", metavar="NAME", default="", help="its name on the page")
        parser.add_argument("--low", type=int, help="the pool's low watermark")
        parser.add_argument("--high", type=int, help="the pool's high watermark")
        parser.add_argument("--batch-size", type=int, help="the most images of one order")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            release, new = load_bundle(options["folder"])
        except BadBundle as error:
            raise CommandError(str(error)) from error
        if new:
            audit.record(audit.COMMAND_LINE, "release.loaded", release)
        self.stdout.write(f"Release {release}: {'loaded' if new else 'known already'}.")
        if options["pool"]:
            self._point_pool(release, options)
        elif options["activate"]:
            activate(release)

    def _point_pool(self, release: Any, options: dict[str, Any]) -> None:
        sizes = {field: options[name] for name, field in SIZES.items() if options[name] is not None}
        try:
            validate_slug(options["pool"])
            pool, changed = point_pool(options["pool"], release, options["pool_name"], **sizes)
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        self.stdout.write(f"Pool {pool.slug}: {'now' if changed else 'still'} on this release.")
