"""GET tickets/{id}/: from 202 to the avatar."""

from __future__ import annotations

import uuid

from django.test import Client

from generator_worker.contract import BatchProgress
from tests.webgui.api.asking import post_claim, problem_of
from tests.webgui.making import deliver, make_batch
from webgui.buffer import progress
from webgui.buffer.ingest import ingest
from webgui.buffer.models import Pool, Ticket
from webgui.fleet.models import Worker


def test_from_the_line_to_the_avatar(client: Client, pool: Pool, worker: Worker) -> None:
    waiting = post_claim(client, {"pool": "toon"})
    assert waiting.status_code == 202
    assert waiting["Location"] == f"http://testserver/api/v1/tickets/{waiting.json()['id']}/"
    assert waiting.json()["state"] == "waiting"

    batch = make_batch(pool, count=2)
    progress.record(BatchProgress(batch_id=batch.pk, worker="w1", fraction=0.5, note="drawing"))
    body = client.get(waiting["Location"]).json()
    assert (body["state"], body["position"], body["progress"]) == ("waiting", 1, 0.5)
    assert body["note"] == "drawing" and body["eta_seconds"] > 0 and body["avatar"] is None

    deliver(batch, tags=("smiling",))
    ingest(batch.pk)
    body = client.get(waiting["Location"]).json()
    assert body["state"] == "served" and body["position"] is None
    avatar = body["avatar"]
    assert avatar == client.get(f"/api/v1/avatars/{avatar['id']}/").json()
    assert client.get(avatar["image"]).status_code == 200


def test_an_expired_one_says_so(client: Client, pool: Pool, worker: Worker) -> None:
    location = post_claim(client)["Location"]
    Ticket.objects.update(state=Ticket.State.EXPIRED)
    body = client.get(location).json()
    assert (body["state"], body["avatar"], body["eta_seconds"]) == ("expired", None, None)


def test_the_same_key_gives_the_same_ticket(client: Client, pool: Pool, worker: Worker) -> None:
    first, again = (post_claim(client, {}, Idempotency_Key="k1") for _ in range(2))
    assert first.status_code == again.status_code == 202
    assert first["Location"] == again["Location"]


def test_an_unknown_one(client: Client, db: None) -> None:
    problem_of(client.get(f"/api/v1/tickets/{uuid.uuid4()}/"), 404, "not_found")
