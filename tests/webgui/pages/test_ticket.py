"""The ticket's page: waiting, served, expired."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone
from pytest_django.asserts import assertContains, assertRedirects

from tests.webgui.making import make_batch, stock
from webgui.buffer import tickets
from webgui.buffer.models import Avatar, Batch, Pool, Ticket
from webgui.fleet.models import Worker

pytestmark = pytest.mark.django_db


@pytest.fixture
def ticket(client: Client, pool: Pool, worker: Worker) -> Ticket:
    client.post("/", {"pool": "toon"})
    return Ticket.objects.get()


def test_waiting_shows_place_wait_and_the_workers_progress(
    client: Client, pool: Pool, ticket: Ticket
) -> None:
    make_batch(pool, fraction=0.25, note="drawing 2 of 8")
    page = client.get(f"/tickets/{ticket.pk}/")
    assertContains(page, "You are next")
    assertContains(page, "about ")
    assertContains(page, 'value="0.250"')
    assertContains(page, "drawing 2 of 8")
    assertContains(page, f'data-ticket="/api/v1/tickets/{ticket.pk}/"')
    refresh = '<noscript><meta http-equiv="refresh" content="3"></noscript>'
    assertContains(page, refresh, html=True)
    Client().post("/", {"pool": "toon"})
    later = Ticket.objects.exclude(pk=ticket.pk).get()
    assertContains(client.get(f"/tickets/{later.pk}/"), "Number 2 in line")


def test_looking_keeps_the_ticket_alive(client: Client, ticket: Ticket) -> None:
    before = timezone.now() - timedelta(seconds=60)
    Ticket.objects.update(polled_at=before)
    client.get(f"/tickets/{ticket.pk}/")
    ticket.refresh_from_db()
    assert ticket.polled_at > before and ticket.state == Ticket.State.WAITING


def test_served_ticket_leads_to_its_avatar(client: Client, pool: Pool, ticket: Ticket) -> None:
    stock(pool, 1)
    with transaction.atomic():
        assert tickets.serve(pool) == 1
    avatar = Avatar.objects.get()
    assertRedirects(client.get(f"/tickets/{ticket.pk}/"), f"/avatars/{avatar.pk}/")
    assertContains(client.get(f"/avatars/{avatar.pk}/"), "All yours.")


def test_expired_ticket_says_so_and_offers_another_try(client: Client, ticket: Ticket) -> None:
    Ticket.objects.update(expires_at=timezone.now())
    page = client.get(f"/tickets/{ticket.pk}/")
    assertContains(page, "Your place in line has run out", status_code=410)
    assertContains(page, "Generate avatar", status_code=410)


def test_unknown_ticket_is_not_found(client: Client, pool: Pool) -> None:
    assert client.get(f"/tickets/{uuid4()}/").status_code == 404


def test_long_waits_are_told_in_minutes(client: Client, pool: Pool, ticket: Ticket) -> None:
    Worker.objects.update(images_per_minute=1)
    make_batch(pool, count=4, state=Batch.State.ORDERED)
    assertContains(client.get(f"/tickets/{ticket.pk}/"), "about 4 minutes")
