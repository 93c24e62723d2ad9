"""The fleet page: what it shows, what it switches, and for whom."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.utils import timezone
from django.utils.text import slugify

from tests.webgui.fleet.test_samples import series
from tests.webgui.making import make_batch, make_worker
from webgui.accounts.models import AuditEntry
from webgui.buffer.models import Pool
from webgui.fleet import alarms
from webgui.fleet.models import Alarm, Worker

FLEET = "/manage/fleet/"


@pytest.fixture
def keeper(db: None, client: Client) -> Client:
    client.force_login(get_user_model().objects.create_user("keeper", is_staff=True))
    return client


def text_of(response: Any) -> str:
    assert response.status_code == 200
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def test_everything_about_a_worker(keeper: Client, pool: Pool) -> None:
    digest = pool.release.digest
    make_worker(
        "gpu-1",
        activity="busy",
        loaded=[digest],
        outbox=2,
        memory_bytes=2**34,
        faulty=[{"release_digest": "e" * 64, "reason": "a bad layer", "failures": 3, "since": ""}],
        report={
            "gpu": "RTX 4090", "gpu_use": 0.93, "gpu_memory_used_bytes": 2**33, "images": 1200,
            "disk_free_bytes": 2**36, "failures": {"no-room": 2},
        },
    )  # fmt: skip
    make_batch(pool, count=140, worker="gpu-1", fraction=0.5, note="drawing 71 of 140")
    shown = text_of(keeper.get(FLEET))
    for words in (
        "gpu-1", "working, busy", "140 for Toon: drawing 71 of 140", "RTX 4090", "93 %",
        "8.0\xa0GB of 16.0\xa0GB in use", "60 images a minute", "1200 images", "2 to deliver",
        "2 × no-room", "Toon heads", "Refuses eeeeeeeeeeee… after 3 failures: a bad layer",
    ):  # fmt: skip
        assert words.replace("\xa0", " ") in shown.replace("\xa0", " "), words


def test_what_is_wrong_stands_with_a_way_to_the_guide(keeper: Client, pool: Pool) -> None:
    make_worker(last_seen=timezone.now() - timedelta(seconds=90))
    alarms.check()
    page = keeper.get(FLEET).content.decode()
    assert 'href="/manage/guide/#worker-silent"' in page and "Worker silent: w1" in page


def test_each_alarm_has_a_heading_in_the_guide(keeper: Client) -> None:
    guide = keeper.get("/manage/guide/").content.decode()
    for kind in Alarm.Kind:
        assert f'<h2 id="{slugify(kind.label)}">{kind.label}</h2>' in guide
    source = Path(__file__).parents[3] / "docs" / "operating.md"
    assert all(f"\n## {kind.label}\n" in source.read_text() for kind in Alarm.Kind)


def test_the_charts_in_figures(keeper: Client, pool: Pool) -> None:
    series(60, claims=5, images=3, pools={"toon": {"available": 9, "waiting": 0, "low": 8}})
    page = keeper.get(FLEET + "?span=day").content.decode()
    rows = re.findall(r"<tr><th scope=\"row\">(.*?)</tr>", page)
    assert len(rows) == 12
    assert re.findall(r"<td>(.*?)</td>", rows[0]) == ["9", "20.0", "12.0", "1"]
    assert 'data-history="/api/v1/admin/history/?span=day"' in page
    assert keeper.get(FLEET + "?span=<b>").status_code == 200


def test_the_part_that_changes_comes_alone(keeper: Client, worker: Worker) -> None:
    part = keeper.get("/manage/fleet/now/").content.decode()
    assert "<html" not in part and 'data-worker="w1"' in part


def test_switching(keeper: Client, worker: Worker) -> None:
    sent_in = {"worker": "w1", "duty": "maintenance", "reason": "  a <new> driver " + "x" * 900}
    answer = keeper.post(FLEET, sent_in)
    assert (answer.status_code, answer["Location"]) == (302, FLEET)
    worker.refresh_from_db()
    assert worker.duty == "maintenance"
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.details["reason"][:14]) == ("keeper", "a <new> driver")
    assert len(worker.duty_reason) == 500
    shown = keeper.get(FLEET).content.decode()
    assert "Back to work" in shown and "safe to stop" in shown
    assert "<p>a &lt;new&gt; driver" in shown


@pytest.mark.parametrize(
    ("sent_in", "status"),
    [
        ({"worker": "w1", "duty": "asleep"}, 400),
        ({"worker": "nobody", "duty": "draining"}, 404),
        ({"worker": "w1", "forgive": "f" * 64}, 409),
        ({}, 404),
    ],
)
def test_what_cannot_be_done_says_why(
    keeper: Client, worker: Worker, sent_in: dict[str, str], status: int
) -> None:
    answer = keeper.post(FLEET, sent_in)
    assert answer.status_code == status and b'role="alert"' in answer.content
    assert Worker.objects.get().duty == "working" and not AuditEntry.objects.exists()


@pytest.mark.parametrize("path", [FLEET, "/manage/fleet/now/", "/manage/guide/"])
def test_administrators_alone(client: Client, worker: Worker, path: str) -> None:
    for _ in range(2):
        assert client.get(path).status_code == 302
        client.force_login(get_user_model().objects.get_or_create(username="visitor")[0])
    assert client.post(FLEET, {"worker": "w1", "duty": "draining"}).status_code == 302
    assert Worker.objects.get().duty == "working"


def test_a_page_without_workers(keeper: Client) -> None:
    assert "No worker was heard from yet" in text_of(keeper.get(FLEET))
