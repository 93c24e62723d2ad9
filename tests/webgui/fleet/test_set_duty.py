"""`manage.py set_duty`."""

from __future__ import annotations

import io

import pytest
from django.core.management import CommandError, call_command

from webgui.accounts.models import AuditEntry
from webgui.fleet.models import Worker


def said(*arguments: str) -> str:
    out = io.StringIO()
    call_command("set_duty", *arguments, stdout=out)
    return out.getvalue().strip()


def test_it_is_set_with_a_reason(worker: Worker) -> None:
    assert said("w1", "maintenance", "--reason", "new fan") == "Worker w1: now maintenance."
    assert said("w1", "maintenance") == "Worker w1: already maintenance."
    worker.refresh_from_db()
    assert (worker.duty, worker.duty_reason) == ("maintenance", "new fan")
    assert AuditEntry.objects.get().actor == "command line"


@pytest.mark.parametrize("arguments", [("nobody", "working"), ("w1", "asleep")])
def test_what_cannot_be_is_refused(worker: Worker, arguments: tuple[str, str]) -> None:
    with pytest.raises(CommandError):
        said(*arguments)
    assert Worker.objects.get().duty == "working"
