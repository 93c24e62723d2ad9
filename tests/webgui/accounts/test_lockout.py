"""Guessing at passwords: who is kept out, for how long, and who is not."""

from __future__ import annotations

import logging
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone
from django.utils.html import escape

from webgui.accounts.models import StaffToken

LOGIN = "/admin/login/"
PASSWORD = "a horse, correct"  # noqa: S105


@pytest.fixture(autouse=True)
def keeper(db: None) -> Any:
    return get_user_model().objects.create_superuser("keeper", password=PASSWORD)


def log_in(
    password: str = PASSWORD,
    address: str = "192.0.2.1",
    user: str = "keeper",
    client: Client | None = None,
    **headers: str,
) -> HttpResponse:
    form = {"username": user, "password": password}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return (client or Client()).post(LOGIN, form, REMOTE_ADDR=address, headers=named)


def let_in(*arguments: Any, **options: Any) -> bool:
    return log_in(*arguments, **options).status_code == 302


def fail(times: int = 5, **options: Any) -> HttpResponse:
    for number in range(times):
        last = log_in(f"guess {number}", **options)
    return last


def test_five_wrong_passwords_lock_the_address_and_no_other() -> None:
    assert fail(4).status_code == 200
    assert let_in()
    refused = fail(1)  # success in between has wiped nothing out
    assert refused.status_code == 429
    assert refused["Retry-After"] == "900"
    assert "15 minutes" in refused.content.decode()
    assert log_in().status_code == 429
    assert log_in(user="somebody else").status_code == 429
    assert let_in(address="192.0.2.2")


def test_the_lock_ends_by_itself_and_tries_meanwhile_do_not_prolong_it() -> None:
    fail()
    began = AccessAttempt.objects.get().attempt_time
    fail(3)
    assert AccessAttempt.objects.get().attempt_time == began
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(minutes=14))
    assert not let_in()
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(minutes=16))
    assert let_in()


def test_who_has_all_addresses_of_an_ipv6_network_is_one() -> None:
    for number in range(5):
        fail(1, address=f"2001:db8:1:2::{number:x}")
    assert not let_in(address="2001:db8:1:2:ffff::9")
    assert let_in(address="2001:db8:1:3::1")


def test_an_account_that_many_addresses_guess_at_is_locked_for_all() -> None:
    for number in range(4):
        fail(4, address=f"192.0.2.{number}")
    assert let_in(address="198.51.100.1")  # 16 of 20
    fail(4, address="192.0.2.9")
    assert log_in(address="198.51.100.1").status_code == 429
    get_user_model().objects.create_superuser("other", password=PASSWORD)
    assert let_in(address="198.51.100.1", user="other")


def test_x_forwarded_for_chooses_no_other_counter() -> None:
    """Nobody is trusted by default."""
    for number in range(5):
        fail(1, X_Forwarded_For=f"203.0.113.{number}")
    assert log_in(X_Forwarded_For="203.0.113.77").status_code == 429
    assert let_in(address="192.0.2.2", X_Forwarded_For="192.0.2.1")


def test_behind_one_proxy_its_word_counts_and_no_other(settings) -> None:
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "NUM_PROXIES": 1}
    proxy = "10.0.0.1"
    for number in range(5):
        fail(1, address=proxy, X_Forwarded_For=f"203.0.113.{number}, 192.0.2.1")
    assert not let_in(address=proxy, X_Forwarded_For="203.0.113.9, 192.0.2.1")
    assert let_in(address=proxy, X_Forwarded_For="192.0.2.1, 192.0.2.2")
    # What is no address is nobody's in particular, and no way round.
    fail(address=proxy, X_Forwarded_For="; drop table")
    assert not let_in(address=proxy, X_Forwarded_For="unknown")


def test_who_is_logged_in_stays_so_and_tokens_work(keeper: Any) -> None:
    client = Client(REMOTE_ADDR="192.0.2.1")
    assert let_in(client=client)
    token = StaffToken(user=keeper).make()
    fail()
    assert client.get("/manage/pools/").status_code == 200
    bearer = {"Authorization": f"Bearer {token}"}
    api = Client().get("/api/v1/admin/pools/", REMOTE_ADDR="192.0.2.1", headers=bearer)
    assert api.status_code == 200


def unlock(*arguments: str) -> str:
    out = StringIO()
    call_command("unlock_login", *arguments, stdout=out)
    return out.getvalue()


def test_a_command_frees_a_user(keeper: Any) -> None:
    with pytest.raises(CommandError, match="no lock holds"):
        unlock("keeper")
    fail(3)
    fail(2, user="kepeer")
    assert not let_in()
    assert "3 as 'keeper' from 192.0.2.1" in unlock()
    assert unlock("keeper") == "Unlocked: keeper.\n"
    assert let_in()


def test_a_command_frees_an_address() -> None:
    fail()
    fail(address="192.0.2.2")
    assert "Unlocked" in unlock("--address", "192.0.2.1")
    assert let_in()
    assert not let_in(address="192.0.2.2")


def test_what_was_typed_is_in_no_log_and_no_table(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    fail(6, user="hunter2, typed into the wrong field")
    fail(1, address="192.0.2.2")
    assert let_in(address="192.0.2.2")
    lines = [record.getMessage() for record in caplog.records if "axes" not in record.name]
    assert "Log-in failed: nobody we know from 192.0.2.1" in lines
    assert "Log-in locked: nobody we know from 192.0.2.1" in lines
    assert "Log-in failed: keeper from 192.0.2.2" in lines
    assert "Logged in: keeper from 192.0.2.2" in lines
    for secret in ("hunter2", "guess 0", PASSWORD):
        assert secret not in caplog.text
    kept = str(list(AccessAttempt.objects.values("post_data", "get_data", "path_info")))
    assert "guess" not in kept and PASSWORD not in kept


def test_it_is_the_only_door_and_sends_nobody_elsewhere() -> None:
    for path in ("/manage/pools/", "/manage/checkpoints/upload/", "/manage/fleet/", "/admin/"):
        answer = Client().get(path)
        assert (answer.status_code, answer["Location"].partition("?")[0]) == (302, LOGIN), path
    form = {"username": "keeper", "password": PASSWORD, "next": "https://evil.example/"}
    assert Client().post(f"{LOGIN}?next=//evil.example/", form)["Location"] == "/admin/"
    page = Client().get(f"{LOGIN}?next=javascript:alert(1)").content.decode()
    assert 'href="javascript' not in page and escape("alert(1)") in page
