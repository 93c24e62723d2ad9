"""What a server behind TLS tells browsers: with production's settings, on every kind of answer."""

from __future__ import annotations

import json
from http.cookies import SimpleCookie
from typing import Any

import pytest

from tests.webgui.config.test_settings import run_python

PATHS = [
    *("/", "/about/", "/avatars/00000000-0000-0000-0000-000000000000/", "/nothing/"),
    *("/admin/", "/admin/login/", "/admin/auth/user/", "/admin/nothing/", "/manage/fleet/"),
    *("/api/docs/", "/api/v1/pools/", "/api/v1/schema/", "/api/v1/nothing/"),
    *("/api/v1/admin/pools/", "/static/css/base.css", "/static/nothing.css", "/healthz"),
]
ASK = f"""
import json, django
django.setup()
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import Client
call_command("migrate", verbosity=0)
get_user_model().objects.create_superuser("keeper", password="a horse, correct")
client = Client(raise_request_exception=False, headers={{"Host": "localhost"}})
form = {{"username": "keeper", "password": "a horse, correct"}}
answers = {{"log-in": client.post("/admin/login/", form, secure=True)}}
key = client.session.session_key
for path in {PATHS!r}:
    answers[path] = client.get(path, secure=True)
for who in (client, Client(headers={{"Host": "localhost"}})):
    answers[f"{{'staff' if who is client else 'anybody'}} without TLS"] = who.get("/admin/")
page = {{"_save": "", "user": 1, "name": "laptop"}}
answers["token"] = client.post("/admin/accounts/stafftoken/add/", page, secure=True)
answers["log-out"] = client.post("/admin/logout/", secure=True)
from django.contrib.sessions.models import Session
report = {{
    name: [answer.status_code, dict(answer.headers), answer.cookies.output(header="")]
    for name, answer in answers.items()
}}
print(json.dumps([report, Session.objects.filter(pk=key).exists()]))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], bool]:
    home = tmp_path_factory.mktemp("home")
    report, kept = json.loads(run_python(ASK, home, STYLEDIFFUSER_HTTPS="1").splitlines()[-1])
    return report, kept


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_keeps_browsers_safe(told: Any, path: str) -> None:
    status, headers, _ = told[0][path]
    assert status < 500
    age, *more = headers["Strict-Transport-Security"].split("; ")
    assert int(age.partition("=")[2]) >= 31_536_000 and "includeSubDomains" in more
    policy = headers["Content-Security-Policy"]
    for directive in ("object-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"):
        assert directive in policy
    assert "default-src 'self'" in policy and "script-src 'unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in headers or path.startswith("/static/")
    if headers.get("Content-Type", "").startswith("text/"):
        assert "charset=utf-8" in headers["Content-Type"].lower().replace('"', "")


def test_every_cookie_is_secure_and_this_hosts_alone(told: Any) -> None:
    seen = set()
    for _, _, cookies in told[0].values():
        for cookie in SimpleCookie(cookies).values():
            seen.add(cookie.key)
            if cookie["max-age"] == "0":  # taken back
                continue
            assert cookie.key.startswith("__Host-") and cookie["path"] == "/"
            assert cookie["secure"] and cookie["httponly"] and not cookie["domain"]
            assert cookie["samesite"] == "Lax"
    names = ("sessionid", "csrftoken", "visitor", "messages")
    assert seen == {f"__Host-{name}" for name in names}


def test_a_session_lasts_twelve_hours_and_ends_at_log_out(told: Any) -> None:
    report, kept = told
    session = SimpleCookie(report["log-in"][2])["__Host-sessionid"]
    assert int(session["max-age"]) == 12 * 3600
    assert len(session.value) >= 32
    assert report["log-out"][0] == 200 and not kept


def test_without_tls_nothing_is_answered_but_where_to_go(told: Any) -> None:
    for who in ("staff", "anybody"):
        status, headers, cookies = told[0][f"{who} without TLS"]
        assert (status, headers["Location"]) == (301, "https://localhost/admin/")
        assert not cookies


def test_an_administrators_page_is_not_kept_by_caches(told: Any) -> None:
    for path in ("/admin/", "/admin/auth/user/", "/manage/fleet/", "/api/v1/admin/pools/"):
        assert "no-store" in told[0][path][1].get("Cache-Control", ""), path
