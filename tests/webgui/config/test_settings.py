"""What the server promises about itself: headers, secrets, memory, and no torch anywhere."""

from __future__ import annotations

import functools
import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import Client

from tests.webgui.making import stock
from webgui.api import views
from webgui.config import environment
from webgui.config.logs import request_id

ROOT = Path(__file__).resolve().parents[3]


def run_python(code: str, home: Path, **env: str) -> str:
    """In a process of its own, with the settings of a server."""
    clean = {key: value for key, value in os.environ.items() if "STYLEDIFFUSER" not in key}
    clean |= {"DJANGO_SETTINGS_MODULE": "webgui.config.settings", "STYLEDIFFUSER_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT, env=clean | env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


class TestSecretKey:
    def test_it_is_made_once_and_for_the_owner_alone(self, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.delenv("STYLEDIFFUSER_SECRET_KEY", raising=False)
        key = environment.secret_key(tmp_path / "home")
        assert len(key) > 50 and environment.secret_key(tmp_path / "home") == key
        mode = (tmp_path / "home" / "secret_key").stat().st_mode
        assert stat.S_IMODE(mode) == 0o600
        assert [path.name for path in (tmp_path / "home").iterdir()] == ["secret_key"]

    def test_a_given_one_is_taken(self, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setenv("STYLEDIFFUSER_SECRET_KEY", "given")
        assert environment.secret_key(tmp_path) == "given"
        assert not list(tmp_path.iterdir())

    def test_an_empty_file_is_an_error_that_says_what_to_do(
        self, tmp_path: Path, monkeypatch
    ) -> None:
        monkeypatch.delenv("STYLEDIFFUSER_SECRET_KEY", raising=False)
        (tmp_path / "secret_key").touch()
        with pytest.raises(ImproperlyConfigured, match="delete it"):
            environment.secret_key(tmp_path)


@pytest.mark.parametrize(
    ("read", "value"), [(environment.number, "many"), (environment.flag, "maybe")]
)
def test_a_bad_setting_is_named(monkeypatch, read, value: str) -> None:
    monkeypatch.setenv("STYLEDIFFUSER_X", value)
    with pytest.raises(ImproperlyConfigured, match="STYLEDIFFUSER_X"):
        read("X", 1)


def test_a_secret_may_come_in_a_file(monkeypatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from the file\n")
    monkeypatch.delenv("STYLEDIFFUSER_X", raising=False)
    monkeypatch.setenv("STYLEDIFFUSER_X_FILE", str(tmp_path / "secret"))
    assert environment.text("X", "default") == "from the file"
    monkeypatch.setenv("STYLEDIFFUSER_X", "said outright")
    assert environment.text("X", "default") == "said outright"
    monkeypatch.delenv("STYLEDIFFUSER_X")
    monkeypatch.setenv("STYLEDIFFUSER_X_FILE", str(tmp_path / "nowhere"))
    with pytest.raises(ImproperlyConfigured, match=r"STYLEDIFFUSER_X_FILE.*No such file"):
        environment.text("X", "default")


def test_a_number_has_a_least(monkeypatch) -> None:
    monkeypatch.setenv("STYLEDIFFUSER_X", "0")
    with pytest.raises(ImproperlyConfigured, match="1 or more"):
        environment.number("X", 5, least=1)


def test_headers_that_keep_browsers_safe(client: Client, db: None) -> None:
    for path in ("/healthz", "/admin/login/", "/api/v1/pools/"):
        response = client.get(path)
        policy = response["Content-Security-Policy"]
        assert "default-src 'self'" in policy and "object-src 'none'" in policy
        assert "unsafe" not in policy
        assert response["X-Content-Type-Options"] == "nosniff"
        assert response["X-Frame-Options"] == "DENY"
        assert response["Referrer-Policy"] == "same-origin"
        assert response["X-Request-ID"]


def test_only_the_documents_page_may_style_itself(client: Client, db: None) -> None:
    policy = client.get("/api/docs/")["Content-Security-Policy"]
    assert re.search(r"style-src 'self' 'unsafe-inline'", policy)
    assert "script-src 'unsafe" not in policy


def test_a_foreign_host_is_refused(client: Client, db: None) -> None:
    assert client.get("/healthz", headers={"Host": "evil.example"}).status_code in (200, 400)
    assert client.get("/admin/login/", headers={"Host": "evil.example"}).status_code == 400


def test_the_admin_site_is_on_and_knows_the_models(admin_client: Client) -> None:
    page = admin_client.get("/admin/").content.decode()
    for name in ("Pools", "Batches", "Avatars", "Tickets", "Releases", "Workers"):
        assert name in page


def test_deployed_behind_https_nothing_is_left_to_warn_of(tmp_path: Path) -> None:
    code = (
        "import django; django.setup()\n"
        "from django.core.management import call_command\n"
        "call_command('check', deploy=True, fail_level='WARNING')"
    )
    run_python(code, tmp_path, STYLEDIFFUSER_HTTPS="1")


def test_postgresql_and_redis_by_url(tmp_path: Path) -> None:
    code = (
        "from django.conf import settings; import json\n"
        "print(json.dumps([settings.DATABASES['default']['ENGINE'],"
        " settings.CACHES['default']['BACKEND'], settings.DEBUG]))"
    )
    env = {
        "STYLEDIFFUSER_DATABASE_URL": "postgresql://u:p@db/name",
        "STYLEDIFFUSER_CACHE_URL": "redis://cache/1",
    }
    engine, cache, debug = json.loads(run_python(code, tmp_path, **env))
    assert engine.endswith("postgresql") and cache.endswith("RedisCache") and debug is False


WEB = """
import webgui.config.wsgi, json, sys
from django.test import Client
from django.core.management import call_command
call_command("migrate", verbosity=0)
client = Client(headers={"Host": "localhost"})
for path in ("/", "/healthz", "/api/v1/pools/", "/api/v1/schema/", "/admin/login/"):
    assert client.get(path).status_code == 200, path
"""
INGEST = """
import webgui.config.celery as module, json, sys, django
django.setup()
module.app.loader.import_default_modules()
assert "buffer.batch_delivered" in module.app.tasks
"""
REPORT = """
heavy = ["torch", "diffusers", "transformers", "numpy", "onnxruntime", "models_core"]
kilobytes = [line for line in open("/proc/self/status") if line.startswith("VmRSS")][0].split()[1]
print(json.dumps([[name for name in heavy if name in sys.modules], int(kilobytes) // 1024]))
"""


@pytest.mark.parametrize("process", [WEB, INGEST], ids=["web", "ingest"])
def test_neither_web_nor_ingest_imports_torch_and_both_stay_small(
    process: str, tmp_path: Path
) -> None:
    heavy, megabytes = json.loads(run_python(process + REPORT, tmp_path))
    assert heavy == []
    assert megabytes < 150


SECRETS = {
    "STYLEDIFFUSER_SECRET_KEY": "k" * 25 + "-of-the-web-" + "k" * 25,
    "STYLEDIFFUSER_BROKER_URL": "redis://server:broker-pass@127.0.0.1:1/0",
    "STYLEDIFFUSER_EMAIL_PASSWORD": "mail-pass",
    "STYLEDIFFUSER_ALARM_WEBHOOK_SECRET": "hook-secret",
}
PROVOKED = """
import logging, os, sys, django
sys.stderr = sys.stdout
django.setup()
from django.conf import settings
log = logging.getLogger("provoked")
log.error("all of them: %s", {name: str(getattr(settings, name)) for name in dir(settings)})
try:
    raise OSError(f"no way to {settings.BROKER_URL} by {settings.SECRET_KEY}")
except OSError:
    log.exception("Failed with Authorization: Bearer 0123456789")
"""


class TestLogs:
    def test_a_request_keeps_the_id_its_proxy_gave(self, client: Client) -> None:
        given = client.get("/healthz", headers={"X-Request-ID": "abc-123"})
        assert given["X-Request-ID"] == "abc-123"
        bad = client.get("/healthz", headers={"X-Request-ID": "a b\tc"})
        assert re.fullmatch(r"[0-9a-f]{32}", bad["X-Request-ID"])

    def test_a_503_given_on_purpose_is_no_error(self, pool, caplog, monkeypatch) -> None:
        client = Client()
        assert client.post("/api/v1/avatars/", content_type="application/json").status_code == 503
        assert not [record for record in caplog.records if record.name == "django.request"]
        failing = Client(raise_request_exception=False)
        with monkeypatch.context() as patch:
            patch.setattr(views, "claim", None)
            failing.post("/api/v1/avatars/", content_type="application/json")
        assert [record for record in caplog.records if record.name == "django.request"]

    def test_what_is_logged_and_every_refusal_carry_it(self, pool, caplog) -> None:
        stock(pool, 1)
        kept: list[tuple[str, str]] = []
        caplog.set_level("INFO")
        caplog.handler.addFilter(
            lambda record: kept.append((record.name, request_id())) or True  # type: ignore[func-returns-value]
        )
        post = functools.partial(Client().post, "/api/v1/avatars/", {}, "application/json")
        post(headers={"X-Request-ID": "r-1"})
        refused = post(headers={"X-Request-ID": "r-2"})
        assert ("webgui.buffer.claim", "r-1") in kept
        assert refused.json()["request"] == refused["X-Request-ID"] == "r-2"
        assert request_id() == ""

    def test_no_line_holds_a_password_or_a_key_of_the_settings(self, tmp_path: Path) -> None:
        lines = run_python(PROVOKED, tmp_path, **SECRETS)
        assert lines.count("***") >= 4 and "all of them" in lines
        for secret in SECRETS.values():
            assert secret.rpartition("//")[2].partition("@")[0].rpartition(":")[2] not in lines
