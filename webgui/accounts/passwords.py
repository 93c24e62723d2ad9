"""What makes a password too easy to guess here, besides what Django's own validators look for."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError

WORDS = ("stylediffuser", "style diffuser", "diffuser", "avatar", "administrator", "stylegan")


class NoWordsOfThisSite:
    """Refuses a password of which hardly anything is left without the names that belong here."""

    least_besides = 8

    def validate(self, password: str, user: Any = None) -> None:
        rest = password.casefold()
        for word in sorted({*WORDS, *self._hosts()}, key=len, reverse=True):
            rest = rest.replace(word, "")
        if len(rest) < min(self.least_besides, len(password)):
            raise ValidationError(self.get_help_text(), code="password_of_this_site")

    def get_help_text(self) -> str:
        return (
            "Your password needs at least 8 characters besides names that belong to this site, "
            "such as stylediffuser, avatar or its host name."
        )

    def _hosts(self) -> list[str]:
        hosts = [host.strip(".*[]").casefold() for host in settings.ALLOWED_HOSTS]
        return [part for host in hosts for part in (host, *host.split(".")) if len(part) > 3]
