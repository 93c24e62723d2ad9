from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from webgui.enrolment import admission, broker


class Command(BaseCommand):
    help = (
        "Make the workers' accounts at broker and SFTP server as the database says: after a "
        "backup was restored, or the broker lost its accounts. Nothing to do otherwise."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            admitted, closed = admission.sync()
        except broker.BrokerFault as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Admitted: {', '.join(admitted) or 'none'}.")
        self.stdout.write(f"Closed, since nobody is enrolled so: {', '.join(closed) or 'none'}.")
