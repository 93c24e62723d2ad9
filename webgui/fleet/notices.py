"""Telling alarms outside: by e-mail, by webhook, or both.

    announce(alarm)     # in the transaction that raised or cleared it: rows, nothing is sent
    send_due()          # the clock's: sends them, and again later what did not get through

A webhook is a POST of JSON. With `ALARM_WEBHOOK_SECRET` set it is signed:
`X-StyleDiffuser-Signature` is "sha256=" and the HMAC of the timestamp in
`X-StyleDiffuser-Timestamp`, a dot and the body.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import time
from datetime import timedelta
from typing import Any
from urllib.request import HTTPRedirectHandler, Request, build_opener

from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models import F
from django.utils import timezone

from .hearsay import clean
from .models import Alarm, Notice

MAX_TRIES = 10
FIRST_PAUSE, LONGEST_PAUSE = 15, 3600  # seconds; ten tries last for about three hours
TIMEOUT = 5
A_TICK = 20  # notices
log = logging.getLogger(__name__)


def announce(alarm: Alarm, cleared: bool = False) -> None:
    channels = []
    if settings.ALARM_EMAILS:
        channels.append(Notice.Channel.EMAIL)
    if settings.ALARM_WEBHOOK:
        channels.append(Notice.Channel.WEBHOOK)
    Notice.objects.bulk_create(
        [Notice(alarm=alarm, cleared=cleared, channel=channel) for channel in channels]
    )


def send_due() -> int:
    """Send what is due, each by one clock alone; returns how many got through."""
    due = Notice.objects.filter(next_try_at__lte=timezone.now()).select_related("alarm")
    return sum(_try(notice) for notice in due.order_by("next_try_at")[:A_TICK])


def _try(notice: Notice) -> bool:
    # Before sending: killed in between, it is sent late rather than twice at once.
    pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**notice.tries)
    again = timezone.now() + timedelta(seconds=pause)
    mine = Notice.objects.filter(pk=notice.pk, tries=notice.tries, next_try_at__isnull=False)
    if not mine.update(tries=F("tries") + 1, next_try_at=again):
        return False
    row = Notice.objects.filter(pk=notice.pk)
    try:
        SENDERS[Notice.Channel(notice.channel)](notice)
    except Exception as error:  # mail servers and networks fail in every way
        words = clean(f"{type(error).__name__}: {error}", 500)
        given_up = notice.tries + 1 >= MAX_TRIES
        row.update(error=words, **({"next_try_at": None} if given_up else {}))
        log.warning("%s not sent%s: %s", notice, " and given up" if given_up else "", words)
        return False
    row.update(sent_at=timezone.now(), next_try_at=None, error="")
    return True


def payload(notice: Notice) -> dict[str, Any]:
    alarm = notice.alarm
    return {
        "id": str(notice.pk),  # the same in every try
        "event": "cleared" if notice.cleared else "raised",
        "kind": alarm.kind,
        "subject": alarm.subject,
        "detail": alarm.detail,
        "raised_at": alarm.raised_at.isoformat(),
        "cleared_at": alarm.cleared_at.isoformat() if alarm.cleared_at else None,
    }


def _by_email(notice: Notice) -> None:
    alarm = notice.alarm
    told = payload(notice)
    about = f"{alarm.get_kind_display()}{f': {alarm.subject}' if alarm.subject else ''}"
    lines = [alarm.detail, "", f"Raised at {alarm.raised_at:%F %T} UTC."]
    if alarm.cleared_at:
        lines.append(f"Over since {alarm.cleared_at:%F %T} UTC.")
    else:
        lines.append(f'What to do: docs/operating.md, "{alarm.get_kind_display()}".')
    EmailMessage(
        subject=f"[StyleDiffuser] {about} ({told['event']})",
        body="\n".join(lines) + "\n",
        to=settings.ALARM_EMAILS,
        headers={"Message-ID": f"<{notice.pk}@stylediffuser>"},
    ).send()


def _by_webhook(notice: Notice) -> None:
    body = json.dumps(payload(notice)).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "StyleDiffuser"}
    if settings.ALARM_WEBHOOK_SECRET:
        stamp = str(int(time.time()))
        signed = hmac.new(
            settings.ALARM_WEBHOOK_SECRET.encode(), f"{stamp}.".encode() + body, hashlib.sha256
        )
        headers["X-StyleDiffuser-Timestamp"] = stamp
        headers["X-StyleDiffuser-Signature"] = f"sha256={signed.hexdigest()}"
    # Of http or https: the settings see to that.
    request = Request(settings.ALARM_WEBHOOK, data=body, headers=headers, method="POST")  # noqa: S310
    with build_opener(_NoRedirect).open(request, timeout=TIMEOUT):
        pass


class _NoRedirect(HTTPRedirectHandler):
    """What is signed for one place is not carried to another."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, *_: Any) -> None:
        raise OSError(f"{code}: it redirects; name the final address instead")


SENDERS = {Notice.Channel.EMAIL: _by_email, Notice.Channel.WEBHOOK: _by_webhook}
