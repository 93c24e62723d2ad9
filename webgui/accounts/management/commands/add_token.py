from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser

from webgui.accounts import audit
from webgui.accounts.models import StaffToken


class Command(BaseCommand):
    help = (
        "Make a token with which a program may do what this administrator may, and print it. "
        "It is kept as a hash only, so it cannot be shown again; revoke it in the admin site."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="the administrator's user name")
        parser.add_argument("--name", default="", help="what the token is used for")

    def handle(self, *args: Any, **options: Any) -> None:
        user = get_user_model().objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['user']!r}.")
        if not (user.is_active and user.is_staff):
            raise CommandError(f"{user} is no active administrator (staff); tokens are for them.")
        if len(options["name"]) > 100:
            raise CommandError("--name may have at most 100 characters.")
        row = StaffToken(user=user, name=options["name"])
        token = row.make()
        audit.record(audit.COMMAND_LINE, "token.made", row, owner=str(user), name=row.name)
        self.stdout.write(token)
