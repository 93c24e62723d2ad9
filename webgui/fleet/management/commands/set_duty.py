from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from generator_worker.contract import Duty
from webgui.accounts import audit
from webgui.fleet import duty, survey
from webgui.problems import Problem


class Command(BaseCommand):
    help = (
        "Say what is wanted of a worker. working: it gets orders. draining: it finishes what it "
        "has and gets nothing new. maintenance: what it has not begun goes to others as well."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the worker's name, as the fleet page shows it")
        parser.add_argument("mode", choices=[each.value for each in Duty])
        parser.add_argument("--reason", default="", help="shown on the fleet page and booked")

    def handle(self, *args: Any, **options: Any) -> None:
        wanted = Duty(options["mode"])
        try:
            worker = survey.find(options["name"])
        except Problem as problem:
            raise CommandError(problem.detail) from problem
        changed = duty.set_duty(worker, wanted, audit.COMMAND_LINE, options["reason"])
        self.stdout.write(f"Worker {worker.name}: {'now' if changed else 'already'} {wanted}.")
