"""Alarms: raised once, cleared once, told outside until it gets through."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest
from django.core import mail
from django.utils import timezone

from tests.webgui.fleet.test_samples import series
from tests.webgui.making import inbox, make_batch, make_worker
from webgui.buffer import ingest
from webgui.buffer.models import Pool
from webgui.fleet import alarms, notices
from webgui.fleet.models import Alarm, Notice, Sample, Worker

LOW = {"toon": {"available": 3, "waiting": 0, "low": 8}}
LEVEL = {"toon": {"available": 9, "waiting": 0, "low": 8}}


def raised() -> set[tuple[str, str]]:
    return {(alarm.kind, alarm.subject) for alarm in alarms.raised()}


def calm() -> None:
    """As if a minute had passed since what is raised was last seen."""
    Alarm.objects.filter(cleared_at=None).update(seen_at=timezone.now() - timedelta(seconds=61))


def test_nothing_is_wrong(pool: Pool, worker: Worker) -> None:
    series(60, pools=LEVEL)
    assert alarms.check() == 0 and raised() == set()


def test_an_alarm_is_raised_once_and_cleared_once(pool: Pool, worker: Worker) -> None:
    Worker.objects.update(last_seen=timezone.now() - timedelta(seconds=90))
    assert [alarms.check() for _ in range(3)] == [1, 0, 0]
    (alarm,) = alarms.raised()
    assert (alarm.kind, alarm.subject) == ("worker-silent", "w1")
    Worker.objects.update(last_seen=timezone.now())
    assert alarms.check() == 0 and raised() == {("worker-silent", "w1")}  # it may come and go
    calm()
    assert [alarms.check() for _ in range(2)] == [1, 0]
    alarm.refresh_from_db()
    assert alarm.cleared_at is not None and raised() == set()
    Worker.objects.update(last_seen=timezone.now() - timedelta(seconds=90))
    alarms.check()
    assert Alarm.objects.count() == 2


class TestConditions:
    def test_a_buffer_low_for_ten_minutes(self, pool: Pool, worker: Worker) -> None:
        series(39, pools=LOW)  # a little less
        alarms.check()
        assert raised() == set()
        Sample.objects.all().delete()
        series(45, pools=LOW)
        alarms.check()
        assert raised() == {("buffer-low", "toon")}
        assert "3 avatars" in alarms.raised()[0].detail

    def test_low_with_a_break_is_not_low_all_the_time(self, pool: Pool, worker: Worker) -> None:
        series(45, pools=LOW)
        Sample.objects.filter(slot=-20).update(pools=LEVEL)
        alarms.check()
        assert raised() == set()

    def test_no_worker_for_a_minute(self, pool: Pool) -> None:
        series(3, workers=0)
        alarms.check()
        assert raised() == set()
        Sample.objects.all().delete()
        series(7, workers=0)
        alarms.check()
        assert raised() == {("no-worker", "")}

    @pytest.mark.parametrize("duty", ["draining", "maintenance"])
    def test_one_that_was_taken_off_duty_may_be_silent(self, pool: Pool, duty: str) -> None:
        make_worker(duty=duty, last_seen=timezone.now() - timedelta(hours=1))
        alarms.check()
        assert raised() == set()

    def test_a_worker_that_refuses_says_why(self, pool: Pool) -> None:
        finding = {
            "check": "disk",
            "level": "failure",
            "detail": "12 MiB free.",
            "advice": "Make room.",
        }
        make_worker(activity="refusing", report={"findings": [finding]})
        alarms.check()
        (alarm,) = alarms.raised()
        assert (alarm.kind, alarm.detail) == (
            "worker-refusing", "disk: 12 MiB free. Make room.",
        )  # fmt: skip

    def test_one_the_server_took_off_duty(self, pool: Pool) -> None:
        make_worker(duty="maintenance", faults=5, duty_reason="5 faults in a row.")
        make_worker("by hand", duty="maintenance", faults=1)
        alarms.check()
        assert raised() == {("worker-faults", "w1")}

    @pytest.mark.parametrize(("ahead", "wrong"), [(-61, 1), (1200, 1), (-30, 0), (None, 0)])
    def test_a_clock_that_is_off(self, pool: Pool, ahead: float | None, wrong: int) -> None:
        make_worker(clock_ahead=ahead)
        assert alarms.check() == wrong
        assert raised() == ({("clock-off", "w1")} if wrong else set())

    def test_quarantine_of_the_last_hour(self, pool: Pool, worker: Worker) -> None:
        now = timezone.now()
        old = now - timedelta(hours=2)
        make_batch(pool, state="quarantined", settled_at=old, reason="old")
        alarms.check()
        assert raised() == set()
        make_batch(pool, state="quarantined", settled_at=now, worker="w1", reason="no PNG")
        alarms.check()
        (alarm,) = alarms.raised()
        assert alarm.kind == "quarantine" and alarm.detail.endswith("of w1: no PNG")

    def test_a_delivery_that_nobody_ordered(self, pool: Pool, worker: Worker) -> None:
        folder = inbox("not-a-batch")
        folder.mkdir(parents=True)
        ingest.sweep()
        alarms.check()
        (alarm,) = alarms.raised()
        assert alarm.kind == "quarantine" and alarm.detail.startswith("1 in the last hour, of no")

    def test_a_disk_that_fills_up(self, pool: Pool, worker: Worker, settings) -> None:
        settings.ALARM_DISK_MIB = 2**40
        alarms.check()
        assert {kind for kind, _ in raised()} == {"disk-low"}


class Listener:
    """A place that webhooks go to, and what it was sent."""

    def __init__(self) -> None:
        self.heard: list[SimpleNamespace] = []
        self.answer = 204
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                listener.heard.append(SimpleNamespace(headers=self.headers, body=body))
                self.send_response(listener.answer)
                if listener.answer == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/alarms"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def listener() -> Iterator[Listener]:
    found = Listener()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture
def silent(pool: Pool) -> Worker:
    return make_worker(last_seen=timezone.now() - timedelta(seconds=90))


def due_again() -> None:
    Notice.objects.filter(next_try_at__isnull=False).update(next_try_at=timezone.now())


class TestNotices:
    def test_nobody_is_to_be_told(self, silent: Worker) -> None:
        alarms.check()
        assert Notice.objects.count() == 0 and notices.send_due() == 0

    def test_by_email(self, silent: Worker, settings) -> None:
        settings.ALARM_EMAILS = ["ops@example.org"]
        alarms.check()
        assert notices.send_due() == 1 and notices.send_due() == 0
        (message,) = mail.outbox
        assert message.to == ["ops@example.org"]
        assert message.subject == "[StyleDiffuser] Worker silent: w1 (raised)"
        assert "Not heard since" in message.body and "docs/operating.md" in message.body

    def test_by_a_signed_webhook_raised_and_cleared(
        self, silent: Worker, settings, listener: Listener
    ) -> None:
        settings.ALARM_WEBHOOK, settings.ALARM_WEBHOOK_SECRET = listener.url, "between us"
        alarms.check()
        assert notices.send_due() == 1
        Worker.objects.update(last_seen=timezone.now())
        calm()
        alarms.check()
        assert notices.send_due() == 1
        first, second = listener.heard
        for told in (first, second):
            stamp = told.headers["X-StyleDiffuser-Timestamp"]
            signed = hmac.new(b"between us", stamp.encode() + b"." + told.body, hashlib.sha256)
            assert told.headers["X-StyleDiffuser-Signature"] == f"sha256={signed.hexdigest()}"
        begin, end = json.loads(first.body), json.loads(second.body)
        assert (begin["event"], begin["kind"], begin["subject"]) == (
            "raised", "worker-silent", "w1",
        )  # fmt: skip
        assert end["event"] == "cleared" and end["cleared_at"] is not None
        assert begin["id"] != end["id"]

    def test_what_does_not_get_through_is_tried_again(
        self, silent: Worker, settings, listener: Listener
    ) -> None:
        settings.ALARM_WEBHOOK, listener.answer = listener.url, 500
        alarms.check()
        assert notices.send_due() == 0 and notices.send_due() == 0
        assert len(listener.heard) == 1  # not at once
        notice = Notice.objects.get()
        assert "500" in notice.error and notice.next_try_at is not None
        listener.answer = 200
        due_again()
        assert notices.send_due() == 1
        notice.refresh_from_db()
        assert (notice.tries, notice.error, notice.next_try_at) == (2, "", None)
        assert {json.loads(told.body)["id"] for told in listener.heard} == {str(notice.pk)}

    def test_and_given_up_some_time(self, silent: Worker, settings) -> None:
        settings.ALARM_WEBHOOK = "http://127.0.0.1:1/"  # nobody is there
        alarms.check()
        for _ in range(notices.MAX_TRIES + 2):
            due_again()
            notices.send_due()
        notice = Notice.objects.get()
        assert (notice.tries, notice.next_try_at) == (notices.MAX_TRIES, None)
        assert notice.sent_at is None and notice.error

    def test_a_redirect_is_not_followed(self, silent: Worker, settings, listener: Listener) -> None:
        settings.ALARM_WEBHOOK, listener.answer = listener.url, 302
        alarms.check()
        assert notices.send_due() == 0 and len(listener.heard) == 1
        assert "redirects" in Notice.objects.get().error

    def test_two_clocks_send_one(self, silent: Worker, settings) -> None:
        settings.ALARM_EMAILS = ["ops@example.org"]
        alarms.check()
        notice = Notice.objects.select_related("alarm").get()
        assert notices._try(notice) and not notices._try(notice)
        assert len(mail.outbox) == 1
