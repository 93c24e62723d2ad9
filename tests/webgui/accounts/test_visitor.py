"""Who is asking: a visitor's cookie, a program's address."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.http import HttpRequest
from django.test import Client, RequestFactory

from tests.webgui.making import stock
from webgui.accounts.visitor import address_of, client_of, known_visitor, visitor_of
from webgui.buffer.claim import avatars_of
from webgui.buffer.models import Avatar, Pool


def request(**meta: str) -> HttpRequest:
    return RequestFactory().get("/", **meta)


def test_a_newcomer_is_one_person_throughout_a_request() -> None:
    asked = request()
    assert known_visitor(asked) is None
    assert client_of(asked) == "address:127.0.0.1"
    name = visitor_of(asked)
    assert name.startswith("visitor:") and visitor_of(asked) == client_of(asked) == name
    assert visitor_of(request()) != name


def test_the_page_gives_the_cookie_and_knows_it_again(client: Client, pool: Pool) -> None:
    response = client.get("/")
    cookie = response.cookies["visitor"]
    assert cookie["httponly"] and cookie["samesite"] == "Lax"
    assert "no-store" in response["Cache-Control"]
    assert "visitor" not in client.get("/").cookies


def test_the_strip_survives_an_administrators_log_in_and_out(client: Client, pool: Pool) -> None:
    stock(pool, 2)
    client.get("/")
    client.post("/api/v1/avatars/", "{}", content_type="application/json")
    mine = Avatar.objects.get(state=Avatar.State.CLAIMED)
    login = {"username": "admin", "password": "secret-of-admin"}
    User.objects.create_superuser(**login)
    assert client.post("/admin/login/?next=/admin/", login)["Location"] == "/admin/"
    client.post("/admin/logout/")
    page = client.get("/").content.decode()
    assert str(mine.pk) in page
    assert list(avatars_of(mine.claimed_by)) == [mine]


def test_an_address_behind_proxies_is_believed_as_far_as_set(settings) -> None:
    asked = request(HTTP_X_FORWARDED_FOR="6.6.6.6, 10.0.0.7", REMOTE_ADDR="10.0.0.1")
    assert address_of(asked) == "10.0.0.1"
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"NUM_PROXIES": 1}
    assert address_of(asked) == "10.0.0.7"
