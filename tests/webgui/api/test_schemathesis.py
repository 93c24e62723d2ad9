"""Every operation of the OpenAPI document, with whatever schemathesis makes of it: no 5xx.

As an administrator and as a visitor, through the WSGI application, on a real database. What the
document says of ids is that they are UUIDs, so half of the time they are those of what is there.
`-m slow` looks further.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import schemathesis
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, transaction
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as some

from tests.webgui.making import deliver, make_batch, make_release, make_worker, stock
from webgui.accounts.models import StaffToken
from webgui.buffer.ingest import ingest
from webgui.buffer.models import Avatar, Pool, Ticket
from webgui.registry.models import Checkpoint, Release, Upload
from webgui.studio.models import Job, Preview

pytestmark = pytest.mark.django_db
schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")
DOCUMENT = SchemaGenerator().get_schema(public=True)
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations()}
# Foreseen, and told by a problem: nothing is there and nobody draws, or no room is left.
FORESEEN = {503, 507}
WSGI = WSGIHandler()
MODES = list(schemathesis.GenerationMode)
Things = dict[str, list[str]]


@pytest.fixture(autouse=True)
def one_connection() -> Iterator[None]:
    """A request ends without ending the test's own connection, as with Django's test client."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def things(pool: Pool, settings: Any) -> Things:
    """One of everything that an address may name, by the name it has there."""
    settings.CLAIMS_PER_MINUTE = settings.TICKETS_PER_CLIENT = 1_000_000
    make_worker("w1")
    batch = make_batch(pool, count=2)
    deliver(batch, tags=("smiling", "pink hair"))
    ingest(batch.pk)
    claimed = list(Avatar.objects.values_list("pk", flat=True))
    Avatar.objects.update(state=Avatar.State.CLAIMED)
    stock(pool, 200, tags=("smiling",))
    ticket = Ticket.objects.create(
        pool=pool, client="address:127.0.0.1", expires_at=timezone.now() + timedelta(days=1)
    )
    draft = make_release("draft", state=Release.State.DRAFT)
    job = Job.objects.create(kind="preview", release=draft)
    Preview.objects.create(job=job)
    upload = Upload.objects.create(
        checkpoint=Checkpoint.objects.create(name="half", size=9), length=9
    )
    whole = Checkpoint.objects.create(name="x", size=2, state="corrupt", sha256="0" * 64)
    found: dict[str, list[Any]] = {
        "avatar_id": claimed,
        "ticket_id": [ticket.pk],
        "upload_id": [upload.pk],
        "checkpoint_id": [upload.checkpoint_id, whole.pk],
        "digest": [pool.release.digest, draft.digest],
        "preview_id": [job.pk],
        "seed": [0, 1000],
        "slug": [pool.slug],
        "name": ["w1"],
    }
    return {name: [str(one) for one in some] for name, some in found.items()}


@pytest.fixture
def keys(things: Things, admin_user: Any) -> dict[str, dict[str, str]]:
    token = StaffToken(user=admin_user).make()
    return {"administrator": {"Authorization": f"Bearer {token}"}, "visitor": {}}


def cases(label: str) -> some.SearchStrategy[Any]:
    return some.one_of([OPERATIONS[label].as_strategy(mode) for mode in MODES])


def bombard(label: str, who: str, things: Things, keys: Any, examples: int) -> None:
    @hypothesis_settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases(label), named=some.sampled_from((True, True, False)), pick=some.randoms())
    def ask(case: Any, named: bool, pick: Any) -> None:
        if named:
            for name in set(case.path_parameters or {}) & set(things):
                case.path_parameters[name] = pick.choice(things[name])
        with transaction.atomic():  # each finds the same house
            answer = case.call(headers=keys[who], app=WSGI)
            transaction.set_rollback(True)
        sent = f"{case.method} {case.formatted_path} {case.query} {case.headers} {case.body!r}"
        assert answer.status_code < 500 or answer.status_code in FORESEEN, sent
        if answer.status_code >= 400 and case.method not in ("HEAD", "TRACE"):
            assert answer.headers["content-type"] == ["application/problem+json"], sent
        if who == "visitor" and "/admin/" in label and case.method != "OPTIONS":
            assert answer.status_code in (401, 403, 404, 405), sent

    ask()


@pytest.mark.parametrize("label", OPERATIONS)
def test_never_a_5xx(label: str, things: Things, keys: Any) -> None:
    for who in keys:
        bombard(label, who, things, keys, examples=6)


@pytest.mark.slow
@pytest.mark.parametrize("label", OPERATIONS)
def test_never_a_5xx_however_long_one_looks(label: str, things: Things, keys: Any) -> None:
    for who in keys:
        bombard(label, who, things, keys, examples=300)


def test_the_whole_document_is_looked_at() -> None:
    operations = [
        f"{method.upper()} {path}" for path, item in DOCUMENT["paths"].items() for method in item
    ]
    assert len(operations) >= 38
    assert sorted(operations) == sorted(OPERATIONS)
