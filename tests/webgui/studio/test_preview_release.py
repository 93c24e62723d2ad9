"""`manage.py preview_release`: asks, waits, tells; and calls off."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from tests.webgui.studio.making import REPORT, asked, deliver, draft
from webgui.studio import deliveries, jobs
from webgui.studio.management.commands import preview_release
from webgui.studio.models import Job

pytestmark = pytest.mark.django_db


@pytest.fixture
def meanwhile(monkeypatch):
    """What happens while the command waits, a step at each look."""
    steps: list = []
    monkeypatch.setattr(preview_release.time, "sleep", lambda _: steps.pop(0)())
    return steps


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("preview_release", *arguments, stdout=out)
    return out.getvalue()


def bring(**changes) -> None:
    job = Job.objects.get()
    deliver(job, **changes)
    deliveries.take_in(job.pk)


def test_a_good_preview_is_waited_for_and_told(worker, home, meanwhile):
    meanwhile += [lambda: None, bring]
    said = run(draft().digest[:12])
    assert "w1 finishes what it is at first." in said
    assert "16 of 16 (score 0.7 or more)" in said
    assert "15 of 16; 1 near-duplicate" in said
    assert "changes pixels by 4.2 of 255 on average, by 90 at most" in said
    assert "Good. The release is previewed." in said


def test_a_bad_preview_ends_in_an_error(worker, home, meanwhile, capsys):
    meanwhile.append(lambda: bring(report=REPORT | {"benign": 0}))
    with pytest.raises(CommandError, match="The preview is bad"):
        run(draft().digest)


def test_one_called_off_meanwhile_is_told_so(worker, home, meanwhile):
    meanwhile.append(lambda: jobs.cancel(Job.objects.get()))
    with pytest.raises(CommandError, match="called off"):
        run(draft().digest)


def test_asking_only_and_calling_off(worker, home):
    release = draft()
    assert "Preview " in run(release.digest, "--no-wait")
    assert ", under way already" in run(release.digest, "--no-wait")
    assert "is called off" in run(release.digest, "--cancel")
    assert Job.objects.get().state == Job.State.CANCELLED
    with pytest.raises(CommandError, match="No preview of"):
        run(release.digest, "--cancel")


def test_an_unknown_release_is_named(home):
    with pytest.raises(CommandError, match="enough of its beginning"):
        run("f" * 64)


def test_without_a_worker_it_says_what_it_waits_for(home, meanwhile):
    preview = asked()
    meanwhile.append(lambda: jobs.cancel(preview.job))
    out = StringIO()
    with pytest.raises(CommandError):
        call_command("preview_release", preview.release.digest, stdout=out)
    assert "No worker is at work right now" in out.getvalue()
