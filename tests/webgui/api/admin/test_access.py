"""Who may use the administrators' API: members of staff, and nobody by another site's page."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.test import Client

from tests.webgui.api.admin.uploading import UPLOADS, Tus
from tests.webgui.api.asking import problem_of
from webgui.accounts.models import StaffToken

CHECKPOINTS = "/api/v1/admin/checkpoints/"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def add_token(*arguments: str) -> str:
    out = StringIO()
    call_command("add_token", *arguments, stdout=out)
    return out.getvalue().strip()


def test_nobody_is_asked_for_a_token(client: Client, db: None) -> None:
    response = client.get(CHECKPOINTS)
    problem_of(response, 401, "not_authenticated")
    assert response["WWW-Authenticate"] == "Bearer"
    problem_of(Tus(client, {}).begin(10), 401, "not_authenticated")


def test_a_token_from_the_command(client: Client, staff: Any) -> None:
    token = add_token("keeper", "--name", "nightly")
    assert client.get(CHECKPOINTS, headers=bearer(token)).json() == []
    row = StaffToken.objects.get()
    assert (row.user, row.name, row.head) == (staff, "nightly", token[:10])
    assert row.used_at is not None
    assert token not in str(StaffToken.objects.values().get())  # hashed at rest


@pytest.mark.parametrize("user", ["nobody", "visitor"])
def test_no_token_for_who_is_no_administrator(db: None, user: str) -> None:
    get_user_model().objects.create_user("visitor")
    with pytest.raises(CommandError, match=user):
        add_token(user)
    assert not StaffToken.objects.exists()


def test_revoked_and_unknown_tokens(client: Client, staff: Any) -> None:
    token = add_token("keeper")
    assert StaffToken.objects.get().revoke()
    for given in (token, token + "x", "", "sdt_é"):
        problem_of(client.get(CHECKPOINTS, headers=bearer(given)), 401, "authentication_failed")


@pytest.mark.parametrize("change", [{"is_staff": False}, {"is_active": False}])
def test_a_token_goes_as_its_owner_goes(client: Client, staff: Any, change: dict) -> None:
    token = add_token("keeper")
    type(staff).objects.update(**change)
    problem_of(client.get(CHECKPOINTS, headers=bearer(token)), 401, "authentication_failed")


def test_signed_in_on_the_site(client: Client, staff: Any) -> None:
    client.force_login(staff)
    assert client.get(CHECKPOINTS).status_code == 200
    # A form of another site has the session's cookie but no CSRF token.
    problem_of(Tus(client, {}).begin(10), 403, "permission_denied")
    client.get("/admin/")
    client.get("/admin/password_change/")
    token = client.cookies["csrftoken"].value
    tus = Tus(client, {"X-CSRFToken": token})
    url = tus.begun(4)
    assert tus.send(url, 0, b"data").status_code == 204
    problem_of(Tus(client, {}).end(url), 403, "permission_denied")


def test_visitors_with_an_account_are_not_staff(client: Client, db: None) -> None:
    client.force_login(get_user_model().objects.create_user("visitor"))
    problem_of(client.get(CHECKPOINTS), 403, "permission_denied")
    assert client.options(UPLOADS).status_code == 204


def test_made_and_revoked_in_the_admin_site(client: Client, admin_user: Any) -> None:
    site = Client()
    site.force_login(admin_user)
    page = site.post(
        "/admin/accounts/stafftoken/add/", {"user": admin_user.pk, "name": "laptop"}, follow=True
    )
    token = next(word for word in page.content.decode().split() if word.startswith("sdt_"))[:47]
    assert client.get(CHECKPOINTS, headers=bearer(token)).status_code == 200
    again = site.get("/admin/accounts/stafftoken/").content.decode()
    assert token not in again and token[:10] in again
    row = StaffToken.objects.get()
    site.post(f"/admin/accounts/stafftoken/{row.pk}/change/", {"name": "old laptop"})
    site.post("/admin/accounts/stafftoken/", {"action": "revoke", "_selected_action": [row.pk]})
    row.refresh_from_db()
    assert row.name == "old laptop" and row.revoked_at is not None
    assert client.get(CHECKPOINTS, headers=bearer(token)).status_code == 401


def test_staff_make_tokens_for_themselves_alone(staff: Any, admin_user: Any) -> None:
    from django.contrib.auth.models import Permission

    staff.user_permissions.set(Permission.objects.filter(content_type__app_label="accounts"))
    StaffToken(user=admin_user).make()
    site = Client()
    site.force_login(staff)
    site.post("/admin/accounts/stafftoken/add/", {"user": admin_user.pk, "name": "sly"})
    assert not StaffToken.objects.filter(name="sly").exists()
    assert "sdt_" not in site.get("/admin/accounts/stafftoken/").content.decode()
