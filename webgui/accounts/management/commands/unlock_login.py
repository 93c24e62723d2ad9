import logging
from typing import Any

from axes.models import AccessAttempt
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Q

log = logging.getLogger(__name__)


class Command(BaseCommand):
    help = (
        "Let somebody log in again who was locked out after too many wrong passwords: forget the "
        "failures of a user and of the addresses that user failed from, or those of one address. "
        "Without either, list who has failed lately."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", nargs="?", default="", help="the user name")
        parser.add_argument("--address", default="", help="an address, as the list shows it")

    def handle(self, *args: Any, **options: Any) -> None:
        user, address = options["user"], options["address"]
        if not user and not address:
            self._list()
            return
        tried_as = Q(username=user) if user else Q(pk=None)
        addresses = AccessAttempt.objects.filter(tried_as).exclude(ip_address=None)
        places = {address} - {""} | set(addresses.values_list("ip_address", flat=True))
        gone, _ = AccessAttempt.objects.filter(tried_as | Q(ip_address__in=places)).delete()
        who = " ".join(filter(None, (user, address)))
        if not gone:
            raise CommandError(f"No log-in has failed of late by {who!r}, so no lock holds.")
        log.warning("Unlocked by command: %s", who)
        self.stdout.write(f"Unlocked: {who}.")

    def _list(self) -> None:
        for failure in AccessAttempt.objects.all():
            self.stdout.write(
                f"{failure.attempt_time:%Y-%m-%d %H:%M} UTC: {failure.failures_since_start} as "
                f"{failure.username!r} from {failure.ip_address}"
            )
