from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from webgui.accounts import audit
from webgui.buffer.problems import NotPreviewed
from webgui.buffer.provision import point_pool
from webgui.problems import Problem
from webgui.registry.loading import BadBundle, load_bundle

SIZES = {"low": "low_watermark", "high": "high_watermark", "batch_size": "batch_size"}


class Command(BaseCommand):
    help = (
        "Bring a release bundle into the registry. With --pool, the pool generates with it from "
        "its next order on (and is created if there is none); a pool that has another release "
        "takes it only after a good preview. Loading twice changes nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "folder",
            type=Path,
            nargs="?",
            default=settings.BASE_DIR / "models_core" / "releases" / "demo",
            help="the folder that holds release.json; without it, the one that is shipped",
        )
        parser.add_argument(
            "--activate", action="store_true", help="said with --pool by older scripts"
        )
        parser.add_argument("--pool", metavar="SLUG", help="point this pool at the release")
        parser.add_argument("--pool-name", metavar="NAME", default="", help="its name on the page")
        parser.add_argument("--low", type=int, help="the pool's low watermark")
        parser.add_argument("--high", type=int, help="the pool's high watermark")
        parser.add_argument("--batch-size", type=int, help="the most images of one order")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["activate"] and not options["pool"]:
            raise CommandError("--activate needs --pool SLUG: which pool is to generate with it?")
        try:
            release, new = load_bundle(options["folder"])
        except BadBundle as error:
            raise CommandError(str(error)) from error
        if new:
            audit.record(audit.COMMAND_LINE, "release.loaded", release)
        self.stdout.write(f"Release {release}: {'loaded' if new else 'known already'}.")
        if options["pool"]:
            self._point_pool(release, options)

    def _point_pool(self, release: Any, options: dict[str, Any]) -> None:
        sizes = {field: options[name] for name, field in SIZES.items() if options[name] is not None}
        try:
            pool, changed = point_pool(options["pool"], release, options["pool_name"], **sizes)
        except NotPreviewed as problem:
            raise CommandError(
                f"{problem.detail} It is loaded: preview it on its page under /manage/releases/, "
                f"then `manage.py activate_release {options['pool']} {release.digest[:12]}`."
            ) from problem
        except Problem as problem:
            raise CommandError(problem.detail) from problem
        self.stdout.write(f"Pool {pool.slug}: {'now' if changed else 'still'} on this release.")
