"""The fleet over REST: looking, switching, forgiving; by administrators alone."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from generator_worker.contract import FORGIVE_RELEASE, SET_DUTY
from tests.webgui.api.asking import problem_of
from tests.webgui.fleet.test_samples import series
from tests.webgui.making import make_batch, make_worker
from webgui.accounts.models import AuditEntry
from webgui.buffer.models import Pool
from webgui.fleet import alarms
from webgui.fleet.models import Worker

WORKERS = "/api/v1/admin/workers/"


def test_the_list_says_what_each_is_at(
    client: Client, bearer: dict[str, str], pool: Pool, worker: Worker
) -> None:
    Worker.objects.update(loaded=[pool.release.digest], report={"gpu": "RTX"}, activity="busy")
    make_batch(pool, worker="w1")
    make_batch(pool, worker="w1", fraction=0.25, note="drawing 1 of 4")
    make_worker("w2", last_seen=timezone.now() - timedelta(hours=1))
    first, second = client.get(WORKERS, headers=bearer).json()
    assert (first["name"], first["state"], second["state"]) == ("w1", "working", "silent")
    assert [task["fraction"] for task in first["tasks"]] == [0.25, 0]
    assert first["tasks"][0] == {
        "what": "batch", "about": "Toon", "images": 4, "fraction": 0.25, "note": "drawing 1 of 4",
    }  # fmt: skip
    assert first["report"] == {"gpu": "RTX"} and not first["safe_to_stop"]


def test_a_duty_is_set_and_booked(
    client: Client, bearer: dict[str, str], worker: Worker, sent: list
) -> None:
    told = {"duty": "draining", "reason": "new driver"}
    for _ in range(2):  # twice is the same as once
        response = client.put(
            f"{WORKERS}w1/duty/", told, content_type="application/json", headers=bearer
        )
        assert response.status_code == 200
        shown = response.json()
        assert (shown["state"], shown["duty_reason"]) == ("draining", "new driver")
        assert shown["safe_to_stop"]
    assert [(task, queue) for task, _, queue in sent] == [(SET_DUTY, "worker.w1.live")]
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.act, entry.target) == ("keeper", "worker.draining", "worker/w1")


@pytest.mark.parametrize(
    ("told", "status"), [({"duty": "asleep"}, 400), ({}, 400), ({"duty": "working"}, 200)]
)
def test_bad_duties_change_nothing(
    client: Client, bearer: dict[str, str], worker: Worker, told: dict, status: int
) -> None:
    response = client.put(
        f"{WORKERS}w1/duty/", told, content_type="application/json", headers=bearer
    )
    assert response.status_code == status
    assert Worker.objects.get().duty == "working" and not AuditEntry.objects.exists()


def test_a_release_is_forgiven(
    client: Client, bearer: dict[str, str], pool: Pool, worker: Worker, sent: list
) -> None:
    digest = pool.release.digest
    entry = {"release_digest": digest, "reason": "no such file", "failures": 3, "since": ""}
    Worker.objects.update(faulty=[entry])
    (refused,) = client.get(f"{WORKERS}w1/", headers=bearer).json()["refused"]
    assert (refused["title"], refused["reason"]) == ("Toon heads", "no such file")
    ask = {"content_type": "application/json", "headers": bearer}
    assert client.post(f"{WORKERS}w1/forgive/", {"release": digest}, **ask).status_code == 202
    assert sent[-1][0] == FORGIVE_RELEASE and sent[-1][1]["release_digest"] == digest
    other = client.post(f"{WORKERS}w1/forgive/", {"release": "f" * 64}, **ask)
    problem_of(other, 409, "not_faulty")


def test_nobody_by_that_name(client: Client, bearer: dict[str, str], worker: Worker) -> None:
    answer = problem_of(client.get(f"{WORKERS}nobody/", headers=bearer), 404, "unknown_worker")
    assert "w1" in answer["detail"]


def test_alarms_and_history(client: Client, bearer: dict[str, str], pool: Pool) -> None:
    make_worker(last_seen=timezone.now() - timedelta(seconds=90))
    alarms.check()
    (alarm,) = client.get("/api/v1/admin/alarms/", headers=bearer).json()
    assert (alarm["kind"], alarm["subject"], alarm["cleared_at"]) == ("worker-silent", "w1", None)
    series(8, pools={"toon": {"available": 9, "waiting": 0, "low": 8}})
    chart = client.get("/api/v1/admin/history/?span=day", headers=bearer).json()
    assert chart["pools"][0]["available"] == [9] * 8 and len(chart["times"]) == 8
    refused = client.get("/api/v1/admin/history/?span=year", headers=bearer)
    assert refused.status_code == 400 and refused["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", WORKERS), ("get", f"{WORKERS}w1/"), ("put", f"{WORKERS}w1/duty/"),
        ("post", f"{WORKERS}w1/forgive/"), ("get", "/api/v1/admin/alarms/"),
        ("get", "/api/v1/admin/history/"),
    ],
)  # fmt: skip
def test_administrators_alone(client: Client, worker: Worker, method: str, path: str) -> None:
    assert getattr(client, method)(path).status_code == 401
    assert Worker.objects.get().duty == "working"
