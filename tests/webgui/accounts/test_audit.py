"""Administrators' acts are written down, by whom and with what, and nobody changes the book."""

from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import Client, RequestFactory

from tests.webgui.api.admin.uploading import Tus
from tests.webgui.making import make_release
from webgui.accounts import audit
from webgui.accounts.models import AuditEntry, StaffToken
from webgui.buffer.models import Pool
from webgui.registry.models import Checkpoint

pytestmark = pytest.mark.django_db
State = Checkpoint.State


@pytest.fixture
def keeper() -> Any:
    return get_user_model().objects.create_user("keeper", is_staff=True)


@pytest.fixture
def token(keeper: Any) -> tuple[StaffToken, str]:
    row = StaffToken(user=keeper)
    return row, row.make()


def make_checkpoint(**fields: Any) -> Checkpoint:
    given = {"name": "lora.safetensors", "state": State.CORRUPT, "size": 1, "sha256": "a" * 64}
    return Checkpoint.objects.create(**(given | fields))


def told() -> list[tuple[str, str, str]]:
    return list(AuditEntry.objects.order_by("pk").values_list("actor", "act", "target"))


def test_an_entry_keeps_names_that_outlive_their_rows(keeper: Any) -> None:
    checkpoint = make_checkpoint()
    key = checkpoint.pk
    audit.record(keeper, "checkpoint.deleted", checkpoint, when=datetime(2026, 1, 2, tzinfo=UTC))
    checkpoint.delete()
    keeper.delete()
    entry = AuditEntry.objects.get()
    assert (entry.user, entry.actor, entry.token) == (None, "keeper", "")
    assert (entry.target, entry.label) == (f"checkpoint/{key}", "lora.safetensors")
    assert entry.details == {"when": "2026-01-02T00:00:00Z"}


def test_things_are_named_as_people_name_them() -> None:
    pool = Pool(slug="toon", name="Toon heads")
    assert audit.name_of(pool) == "pool/toon"
    release = make_release()
    assert audit.name_of(release) == f"release/{release.digest}"


def test_who_acts_by_a_token_is_its_owner(keeper: Any, token: Any) -> None:
    row, _ = token
    request = RequestFactory().get("/")
    request.user, request.auth = keeper, row
    entry = audit.record(audit.actor_of(request), "pool.paused", make_release())
    assert (entry.user, entry.actor, entry.token) == (keeper, "keeper", row.head)


def test_entries_of_one_thing_the_latest_first() -> None:
    one, other = make_release("one"), make_release("other")
    for target, act in ((one, "release.loaded"), (other, "release.loaded"), (one, "release.x")):
        audit.record(audit.COMMAND_LINE, act, target)
    assert [entry.act for entry in audit.of(one)] == ["release.x", "release.loaded"]


def test_a_checkpoint_looked_at_again_and_deleted_through_the_api(
    client: Client, token: Any, home: object
) -> None:
    row, secret = token
    checkpoint = make_checkpoint()
    address, bearer = f"/api/v1/admin/checkpoints/{checkpoint.pk}/", {
        "Authorization": f"Bearer {secret}"
    }  # fmt: skip
    sent = {"data": {"kind": "lora"}, "content_type": "application/json", "headers": bearer}
    assert client.post(f"{address}inspect/", **sent).status_code == 202
    again = AuditEntry.objects.get()
    assert (again.act, again.details) == ("checkpoint.inspected_again", {"kind": "lora"})
    assert client.post(f"{address}inspect/", **sent).status_code == 409  # is not done, not told
    assert client.delete(address, headers=bearer).status_code == 409
    Checkpoint.objects.update(state=State.CORRUPT)
    assert client.delete(address, headers=bearer).status_code == 204
    target = f"checkpoint/{checkpoint.pk}"
    assert told() == [
        ("keeper", "checkpoint.inspected_again", target),
        ("keeper", "checkpoint.deleted", target),
    ]
    assert set(AuditEntry.objects.values_list("token", flat=True)) == {row.head}


def test_an_upload_counts_once_it_is_whole(client: Client, token: Any, home: object) -> None:
    tus = Tus(client, {"Authorization": f"Bearer {token[1]}"})
    url = tus.begun(20, filename="hat.safetensors")
    tus.send(url, 0, b"x" * 10)
    assert not AuditEntry.objects.exists()
    tus.send(url, 10, b"x" * 10)
    tus.head(url)
    checkpoint = Checkpoint.objects.get()
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.act) == ("keeper", "checkpoint.uploaded")
    assert entry.target == f"checkpoint/{checkpoint.pk}"
    assert entry.details == {"sha256": checkpoint.sha256, "size": 20}


def test_a_checkpoint_deleted_on_its_page(client: Client, keeper: Any, home: object) -> None:
    client.force_login(keeper)
    checkpoint = make_checkpoint()
    client.post(f"/manage/checkpoints/{checkpoint.pk}/", {"act": "delete"})
    assert told() == [("keeper", "checkpoint.deleted", f"checkpoint/{checkpoint.pk}")]


def test_tokens(admin_client: Client, keeper: Any) -> None:
    call_command("add_token", "keeper", "--name", "nightly", stdout=StringIO())
    row = StaffToken.objects.get()
    chosen = {"_selected_action": row.pk}
    tokens = "/admin/accounts/stafftoken/"
    admin_client.post(tokens, chosen | {"action": "revoke"})
    admin_client.post(tokens, chosen | {"action": "revoke"})  # revoked already: nothing to tell
    admin_client.post(tokens, chosen | {"action": "delete_selected", "post": "yes"})
    admin_client.post(f"{tokens}add/", {"user": keeper.pk, "name": "ci"})
    assert [(actor, act) for actor, act, _ in told()] == [
        ("command line", "token.made"),
        ("admin", "token.revoked"),
        ("admin", "token.deleted"),
        ("admin", "token.made"),
    ]
    made = AuditEntry.objects.filter(act="token.made").values_list("details", flat=True)
    assert {"owner": "keeper", "name": "ci"} in made


def test_a_pool_edited_in_the_admin_site(admin_client: Client, pool: Pool) -> None:
    form = {
        "name": "Toon", "slug": "toon", "release": pool.release_id, "low_watermark": 8,
        "high_watermark": 40, "batch_size": 4, "paused": "on",
    }  # fmt: skip
    admin_client.post(f"/admin/buffer/pool/{pool.pk}/change/", form)
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.act, entry.target) == ("admin", "pool.edited", "pool/toon")
    assert entry.details == {"high_watermark": [16, 40], "paused": [False, True]}


def test_nobody_changes_the_book(admin_client: Client) -> None:
    entry = audit.record(audit.COMMAND_LINE, "release.loaded", make_release())
    book = "/admin/accounts/auditentry/"
    assert b"release.loaded" in admin_client.get(book).content
    assert admin_client.get(f"{book}{entry.pk}/change/").status_code == 200  # to be read
    for refused in ("add/", f"{entry.pk}/delete/"):
        assert admin_client.get(f"{book}{refused}").status_code == 403
    assert admin_client.post(f"{book}{entry.pk}/change/", {"actor": "x"}).status_code == 403
    entry.refresh_from_db()
    assert entry.actor == "command line"
