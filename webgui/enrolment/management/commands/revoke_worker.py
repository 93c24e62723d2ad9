from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from webgui.accounts import audit
from webgui.enrolment import admission, broker


class Command(BaseCommand):
    help = "Turn a worker away: its accounts and its connections at broker and SFTP server end."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")

    def handle(self, *args: Any, name: str, **options: Any) -> None:
        try:
            admission.revoke(name, audit.COMMAND_LINE)
        except admission.Refusal as error:
            raise CommandError(str(error)) from error
        except broker.BrokerFault as error:
            raise CommandError(
                f"{name} is revoked and SFTP is closed to it, but not the broker. {error} "
                "Then run this again."
            ) from error
        self.stdout.write(f"{name} is revoked. Orders it had go to others when they are overdue.")
