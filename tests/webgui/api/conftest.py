from __future__ import annotations

import pytest
from django.test import Client

from tests.webgui.making import deliver, make_batch
from webgui.buffer.ingest import ingest
from webgui.buffer.models import Pool


@pytest.fixture
def client() -> Client:
    """A program: keeps cookies, and would be asked for a CSRF token where one is needed."""
    return Client(enforce_csrf_checks=True, raise_request_exception=False)


@pytest.fixture
def filled(pool: Pool) -> Pool:
    """Three avatars with their files."""
    batch = make_batch(pool, count=3)
    deliver(batch, tags=("smiling", "pink hair"))
    ingest(batch.pk)
    return pool
