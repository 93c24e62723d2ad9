from __future__ import annotations

import time
from typing import Any, cast

from django.core.management.base import BaseCommand, CommandError, CommandParser

from webgui.accounts import audit
from webgui.demo.console import Console
from webgui.problems import Problem
from webgui.studio import grid, previews, report
from webgui.studio.models import Job, Preview

LOOK_SECONDS = 0.5


class Command(BaseCommand):
    help = (
        "Have a worker preview a release: it draws the same few seeds as for every release, "
        "measures speed and memory, and looks for parts that change nothing. A good preview lets a "
        "draft be given to pools. Waits for the verdict and exits with 1 where it is bad; "
        "interrupted, the preview goes on."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("digest", help="the release's digest, or 8 characters of its beginning")
        parser.add_argument("--no-wait", action="store_true", help="only ask for it")
        parser.add_argument("--cancel", action="store_true", help="call off the one under way")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            release = previews.release_of(options["digest"])
            if options["cancel"]:
                self._cancel(release)
                return
            preview, new = previews.ask(release, audit.COMMAND_LINE)
        except Problem as problem:
            raise CommandError(problem.detail) from problem
        console = Console(cast(Any, self.stdout)._out)
        console.say(f"Preview {preview.pk} of {release}{'' if new else ', under way already'}.")
        if not options["no_wait"]:
            self._tell(console, self._wait(console, preview))

    def _cancel(self, release: Any) -> None:
        under_way = previews.of(release).filter(job__state__in=Job.OPEN).first()
        if under_way is None:
            raise CommandError(f"No preview of {release} is under way.")
        previews.cancel(under_way, audit.COMMAND_LINE)
        self.stdout.write(f"Preview {under_way.pk} is called off.")

    def _wait(self, console: Console, preview: Preview) -> Preview:
        while preview.job.is_open:
            console.bar(preview.job.state, preview.job.fraction, grid.note(preview))
            time.sleep(LOOK_SECONDS)
            preview = previews.find(preview.pk)
        return preview

    def _tell(self, console: Console, preview: Preview) -> None:
        for name, value in report.figures(preview):
            console.say(f"  {name:<22} {value}")
        if preview.job.state == Job.State.CANCELLED:
            raise CommandError("The preview was called off.")
        if preview.verdict == Preview.Verdict.GOOD:
            console.say(f"Good. The release is {preview.release.state}.")
            return
        for reason in preview.reasons:
            console.say(f"  {reason['text']}\n    {reason['advice']}")
        raise CommandError("The preview is bad.")
