"""Previews over REST: asked for, watched, called off, looked at; by administrators alone."""

from __future__ import annotations

import io
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from PIL import Image

from tests.webgui.api.asking import problem_of
from tests.webgui.studio.making import deliver, draft, progress
from webgui.accounts.models import AuditEntry
from webgui.registry.models import Release
from webgui.studio import deliveries, jobs
from webgui.studio.models import Job

PREVIEWS = "/api/v1/admin/previews/"


@pytest.fixture
def release(db: None) -> Release:
    return draft()


def of(release: Release) -> str:
    return f"/api/v1/admin/releases/{release.digest}/previews/"


@pytest.fixture
def asked(client: Client, bearer: dict[str, str], release: Release, worker: Any) -> dict[str, Any]:
    response = client.post(of(release), headers=bearer)
    assert response.status_code == 202
    assert response["Location"] == f"{PREVIEWS}{response.json()['id']}/"
    return response.json()


def job_of(body: dict[str, Any]) -> Job:
    return Job.objects.get(pk=body["id"])


def test_from_asking_to_the_verdict(client, bearer, release, asked):
    assert (asked["state"], asked["verdict"], asked["worker"]) == ("queued", "pending", "w1")
    assert asked["asked_by"] == "keeper"
    assert asked["progress"] == {"fraction": 0.0, "note": "w1 finishes what it is at first."}
    jobs.record(progress(job_of(asked), step=4))
    address = f"{PREVIEWS}{asked['id']}/"
    running = client.get(address, headers=bearer).json()
    assert (running["state"], running["progress"]) == (
        "running",
        {"fraction": 0.25, "note": "drawing"},
    )
    deliver(job_of(asked))
    deliveries.take_in(job_of(asked).pk)
    done = client.get(address, headers=bearer).json()
    assert (done["state"], done["verdict"], done["reasons"]) == ("done", "good", [])
    assert done["figures"]["benign"] == 16
    assert len(done["images"]) == 16
    assert client.get(of(release), headers=bearer).json() == [done]


def test_asking_twice_is_asking_once(client, bearer, release, asked):
    second = client.post(of(release), headers=bearer)
    assert (second.status_code, second.json()["id"]) == (202, asked["id"])
    assert Job.objects.count() == 1
    jobs.cancel(job_of(asked))
    third = client.post(of(release), headers=bearer)
    assert third.json()["id"] != asked["id"]


def test_the_beginning_of_a_digest_will_do(client, bearer, release, worker):
    short = f"/api/v1/admin/releases/{release.digest[:8]}/previews/"
    assert client.post(short, headers=bearer).json()["release"] == release.digest


@pytest.mark.parametrize("digest", ["f" * 64, "abc", "x" * 400, "a%00bcdefgh"])
def test_a_release_there_is_not(client, bearer, release, digest):
    address = f"/api/v1/admin/releases/{digest}/previews/"
    problem_of(client.post(address, headers=bearer), 404, "not_found")
    problem_of(client.get(address, headers=bearer), 404, "not_found")


def test_calling_it_off(client, bearer, asked):
    address = f"{PREVIEWS}{asked['id']}/"
    assert client.delete(address, headers=bearer).status_code == 204
    assert client.get(address, headers=bearer).json()["state"] == "cancelled"
    assert client.delete(address, headers=bearer).status_code == 204  # still so
    acts = list(AuditEntry.objects.order_by("pk").values_list("act", "actor"))
    assert acts[-2:] == [
        ("release.preview_asked", "keeper"),
        ("release.preview_cancelled", "keeper"),
    ]


def test_what_is_over_is_not_called_off(client, bearer, asked):
    deliver(job_of(asked))
    deliveries.take_in(job_of(asked).pk)
    problem_of(client.delete(f"{PREVIEWS}{asked['id']}/", headers=bearer), 409, "wrong_state")


def test_a_picture_of_the_grid_in_two_sizes(client, bearer, asked):
    deliver(job_of(asked))
    deliveries.take_in(job_of(asked).pk)
    body = client.get(f"{PREVIEWS}{asked['id']}/", headers=bearer).json()
    address = body["images"][2]["image"]
    whole, small = (client.get(address + q, headers=bearer) for q in ("", "?size=128"))
    for response, kind, side in ((whole, "PNG", 512), (small, "WEBP", 128)):
        picture = Image.open(io.BytesIO(response.content))
        assert (picture.format, picture.size) == (kind, (side, side))
        assert response["Content-Type"] == f"image/{kind.lower()}"
        assert "private" in response["Cache-Control"]
    problem_of(client.get(f"{address}?size=9000", headers=bearer), 400, "bad_size")
    problem_of(client.get(f"{PREVIEWS}{asked['id']}/images/99", headers=bearer), 404, "not_found")


def test_nobody_else_sees_any_of_it(client, release, asked):
    deliver(job_of(asked))
    deliveries.take_in(job_of(asked).pk)
    address = f"{PREVIEWS}{asked['id']}/"
    client.logout()
    for call in (client.get, client.delete):
        problem_of(call(address), 401, "not_authenticated")
    problem_of(client.get(f"{address}images/1"), 401, "not_authenticated")
    problem_of(client.post(of(release)), 401, "not_authenticated")
    client.force_login(get_user_model().objects.create_user("visitor"))
    problem_of(client.get(f"{address}images/1"), 403, "permission_denied")
    problem_of(client.get(of(release)), 403, "permission_denied")


def test_a_preview_there_is_not(client, bearer):
    problem_of(client.get(f"{PREVIEWS}{uuid4()}/", headers=bearer), 404, "not_found")


def test_another_sites_form_asks_for_nothing(client, release, staff, worker):
    client.force_login(staff)
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = client.cookies
    problem_of(strict.post(of(release)), 403, "permission_denied")
    assert not Job.objects.exists()
