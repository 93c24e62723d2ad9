"""Who guesses at passwords is kept out for a while. django-axes counts; this is how.

* By address: after LOGIN_FAILURES wrong passwords nobody logs in from there for
  LOGIN_LOCK_MINUTES, whatever the user name. Of IPv6 a /64 counts as one address.
* By account: one at which many addresses guess is locked for all, after so many times more. So
  nobody with a single address locks an administrator out who sits somewhere else.

Tries while the lock holds are neither looked at nor counted. Whoever is logged in already stays
so, tokens work on, and `manage.py unlock_login` ends a lock at once.
"""

from __future__ import annotations

import logging
from typing import Any

from axes.attempts import get_cool_off_threshold
from axes.handlers.database import AxesDatabaseHandler
from axes.helpers import get_client_username
from axes.models import AccessAttempt
from axes.signals import user_locked_out
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db.models import Sum
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from .visitor import network_of

# With 5 failures in 15 minutes that is 80 guesses an hour at one account, from however many places.
ACCOUNT_FACTOR = 4
log = logging.getLogger(__name__)


class Lock(AxesDatabaseHandler):
    def get_failures(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> int:
        """What counts against this try; the limit is LOGIN_FAILURES."""
        here: int = super().get_failures(request, credentials)
        account = AccessAttempt.objects.filter(
            username=get_client_username(request, credentials),
            attempt_time__gte=get_cool_off_threshold(request),
        )
        everywhere = account.aggregate(sum=Sum("failures_since_start"))["sum"] or 0
        return max(here, everywhere // ACCOUNT_FACTOR)


def locked_out(request: HttpRequest, response: HttpResponse, credentials: Any) -> HttpResponse:
    """The answer to a try that the lock has turned away."""
    minutes = settings.LOGIN_LOCK_MINUTES
    headers = {"Retry-After": str(60 * minutes), "Cache-Control": "no-store"}
    page = render(request, "locked_out.html", {"minutes": minutes}, status=429)
    for name, value in headers.items():
        page[name] = value
    return page


# A log line each. What was typed as a name is told only where it is one: people type passwords
# there.


@receiver(user_logged_in)
def _note_log_in(request: HttpRequest, user: AbstractBaseUser, **_: Any) -> None:
    log.info("Logged in: %s from %s", user.get_username(), network_of(request))


@receiver(user_logged_out)
def _note_log_out(request: HttpRequest, user: AbstractBaseUser | None, **_: Any) -> None:
    if user is not None:
        log.info("Logged out: %s", user.get_username())


@receiver(user_login_failed)
def _note_failure(
    credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any
) -> None:
    where = network_of(request) if request is not None else "no page"
    log.warning("Log-in failed: %s from %s", _known(credentials.get("username")), where)


@receiver(user_locked_out)
def _note_lock(username: str | None, ip_address: str | None, **_: Any) -> None:
    log.warning("Log-in locked: %s from %s", _known(username), ip_address)


def _known(name: Any) -> str:
    there = bool(name) and get_user_model().objects.filter(username=name).exists()
    return str(name) if there else "nobody we know"
