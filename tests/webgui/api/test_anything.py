"""Whatever is sent, the answer is one of the documented kinds and never a 5xx."""

from __future__ import annotations

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from tests.webgui.api.asking import post_claim
from webgui.buffer.models import Avatar, Pool

pytestmark = pytest.mark.django_db
quickly = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
values = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(), inner, max_size=4),
    max_leaves=8,
)
bodies = values | some.fixed_dictionaries({}, optional={"pool": values, "tags": values})


@pytest.fixture(autouse=True)
def unhurried(settings) -> None:
    settings.CLAIMS_PER_MINUTE = 100_000


@quickly
@given(body=bodies)
def test_any_json(client: Client, filled: Pool, body: object) -> None:
    available = Avatar.objects.filter(state=Avatar.State.AVAILABLE).count()
    response = post_claim(client, body)
    assert response.status_code in (201, 400, 503)  # 503: all taken, and no worker
    if response.status_code == 400:
        assert response.json().get("errors") or response.json()["code"] == "malformed_body"
        assert Avatar.objects.filter(state=Avatar.State.AVAILABLE).count() == available


@quickly
@given(body=some.binary(max_size=200))
def test_any_bytes(client: Client, filled: Pool, body: bytes) -> None:
    assert post_claim(client, body).status_code in (201, 400, 503)


@quickly
@given(size=some.text(max_size=8), format=some.text(max_size=8))
def test_any_query(client: Client, filled: Pool, size: str, format: str) -> None:
    Avatar.objects.update(state=Avatar.State.CLAIMED)
    avatar = Avatar.objects.first()
    assert avatar is not None
    query = {"size": size, "format": format}
    assert client.get(f"/api/v1/avatars/{avatar.pk}/image", query).status_code in (200, 400)


@quickly
@given(key=some.text(alphabet=some.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=99))
def test_any_idempotency_key(client: Client, filled: Pool, key: str) -> None:
    assert post_claim(client, {}, Idempotency_Key=key).status_code in (201, 400, 503)
