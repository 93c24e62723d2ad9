"""Debian's nginx with our configuration, before gunicorn with ours: as in production."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.deploy.processes import (
    DEPLOY,
    clean_env,
    free_port,
    listens,
    manage,
    need,
    public_folder,
    running,
    server_env,
    shell,
)

STOCK = """
from tests.webgui.making import deliver, make_batch, make_pool
from webgui.buffer.ingest import ingest
from webgui.buffer.models import Avatar
batch = make_batch(make_pool(), count=12)
deliver(batch)
ingest(batch.pk)
unseen = Avatar.objects.first()
Avatar.objects.filter(pk=unseen.pk).update(state="retired")
print("READY", Avatar.objects.count(), unseen.pk, unseen.digest)
"""
LIMITS = {"REQUESTS_PER_SECOND": "200", "CLAIMS_PER_SECOND": "1", "CLAIMS_BURST": "8"}


@dataclass
class Front:
    home: Path
    port: int
    unseen: str  # an avatar that nobody has claimed, nor will
    digest: str
    web_port: int
    logs: tuple[Path, Path]

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def get(self, path: str, **headers: str) -> requests.Response:
        return requests.get(self.url(path), headers=headers, timeout=20, allow_redirects=False)

    def claim(self, **headers: str) -> requests.Response:
        return requests.post(
            self.url("/api/v1/avatars/"), json={"pool": "toon"}, headers=headers, timeout=20
        )


ID = "X-Request-ID"


def start_nginx(folder: Path, web: int, home: Path, **settings: str):
    port = free_port()
    env = clean_env() | LIMITS | {
        "RUN": str(folder),
        "WEB": f"127.0.0.1:{web}",
        "HTTP_PORT": str(port),
        "HTTPS_PORT": str(free_port()),
        "MEDIA": str(home / "media"),
        "CACHE": str(home / "cache" / "images"),
        "TLS_CERTIFICATE": str(folder / "none"),
    } | settings  # fmt: skip
    return port, env


@pytest.fixture(scope="module")
def front() -> Iterator[Front]:
    need("nginx", "envsubst")
    with public_folder() as home, public_folder() as run:
        yield from serve(home, run)


def serve(home: Path, run: Path) -> Iterator[Front]:
    web = free_port()
    env = server_env(home, X_ACCEL="1", NUM_PROXIES="1", CLAIMS_PER_MINUTE="3")
    manage(env, "migrate", "--verbosity", "0")
    count, unseen, digest = shell(env, STOCK).split("READY")[1].split()
    assert count == "12"
    gunicorn = [sys.executable, "-m", "gunicorn", "-c", DEPLOY / "web" / "gunicorn.conf.py"]
    env |= {"WEB_BIND": f"127.0.0.1:{web}", "WEB_WORKERS": "1"}
    port, nginx_env = start_nginx(run, web, home)
    nginx = [DEPLOY / "nginx" / "start.sh"]
    with (
        running([*gunicorn, "webgui.config.wsgi"], env, home / "web.log", lambda: listens(web)),
        running(nginx, nginx_env, run / "log", lambda: listens(port)),
    ):
        yield Front(home, port, unseen, digest, web, (home / "web.log", run / "log"))


def test_the_bytes_of_a_picture_come_from_nginx(front: Front) -> None:
    claimed = front.claim(**{"X-Forwarded-For": "192.0.2.1"})
    assert claimed.status_code == 201, claimed.text
    address = claimed.json()["image"].partition(str(front.port))[2] or claimed.json()["image"]
    assert address.startswith("/api/v1/avatars/")
    straight = requests.get(f"http://127.0.0.1:{front.web_port}{address}", timeout=20)
    assert straight.headers["X-Accel-Redirect"].startswith("/_files/media/avatars/")
    assert straight.content == b""
    for query, kind in (("", "image/png"), ("?size=128&format=webp", "image/webp")):
        answer = front.get(address + query)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, kind)
        assert len(answer.content) == int(answer.headers["Content-Length"]) > 100
        assert "X-Accel-Redirect" not in answer.headers
        assert answer.headers["Server"] == "nginx"
        assert "immutable" in answer.headers["Cache-Control"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Disposition"].startswith("inline")
        again = front.get(address + query, **{"If-None-Match": answer.headers["ETag"]})
        assert again.status_code == 304
    odd = front.get(f"{address}?size=101")  # not kept on disk: from the server itself
    assert odd.status_code == 200 and odd.content.startswith(b"\x89PNG")
    part = front.get(address, Range="bytes=0-7")
    assert (part.status_code, part.content) == (206, b"\x89PNG\r\n\x1a\n")


def test_what_was_shown_once_needs_no_server(front: Front) -> None:
    """Other bytes in its place are what is sent: the server does not know of them."""
    claimed = front.claim(**{"X-Forwarded-For": "192.0.2.9"}).json()
    address = f"/api/v1/avatars/{claimed['id']}/image"
    link = Path("shown", claimed["id"][:2], claimed["id"][2:4], f"{claimed['id']}-512.png")
    shown = front.home / "media" / link
    assert shown.is_file()
    shown.unlink()
    shown.write_bytes(b"\x89PNG, by nginx alone")
    straight = front.get(address)
    assert straight.content == b"\x89PNG, by nginx alone"
    assert straight.headers["Content-Disposition"] == (
        f'inline; filename="avatar-{claimed["id"][:8]}-512.png"'
    )
    for header, value in (
        ("Content-Type", "image/png"),
        ("Cache-Control", "public, max-age=31536000, immutable"),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", "default-src 'none'"),
    ):
        assert straight.headers[header] == value
    assert front.get(address, **{"If-None-Match": straight.headers["ETag"]}).status_code == 304
    assert front.get(f"{address}?size=512").content == b"\x89PNG, by nginx alone"
    for query in ("?size=512&size=64", "?size=64", "?format=webp"):
        answer = front.get(address + query)
        assert answer.status_code == 200 and b"by nginx" not in answer.content, query
    assert front.get(f"{address}?size=../512").status_code == 400
    posted = requests.post(front.url(address), timeout=20)
    assert (posted.status_code, posted.json()["code"]) == (405, "method_not_allowed")


def test_what_a_client_may_not_see_nginx_does_not_send(front: Front) -> None:
    digest = front.digest
    place = f"{digest[:2]}/{digest[2:4]}/{digest}.png"
    assert (front.home / "media" / "avatars" / place).is_file()
    for path in (
        f"/_files/media/avatars/{place}",
        f"/_files/media/avatars/../avatars/{place}",
        f"/_files/cache/{digest[:2]}/{digest[2:4]}/{digest}-128.webp",
        "/_files/media/avatars/../../db.sqlite3",
        "/_files/",
        "/media/" + place,
        "/metrics",
        "/readyz",
        f"/api/v1/avatars/{front.unseen}/image",
        f"/api/v1/avatars/{front.unseen}/image/",
    ):
        answer = front.get(path)
        assert answer.status_code in (301, 404), path
        assert b"PNG" not in answer.content[:8]


SECRET = b"<script>not for anybody</script>"
TRAPS = [
    *("media/avatars/trap.html", "media/avatars/trap.svg", "media/staging/trap.html"),
    *("cache/images/trap.svg", "uploads/trap.html", "quarantine/trap.html"),
    *("sftp/inbox/new/trap.html", "sftp/inbox/tmp/trap.svg", "sftp/checkpoints/trap", "trap.php"),
]


def raw(front: Front, target: str, method: str = "GET") -> bytes:
    """As it stands, without a library that puts the path in order first."""
    with socket.create_connection(("127.0.0.1", front.port), timeout=10) as link:
        link.sendall(f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while more := link.recv(65536):
            answer += more
    return answer


def test_nothing_that_others_brought_is_served_as_a_file(front: Front) -> None:
    for trap in TRAPS:
        file = front.home / trap
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(SECRET)
    avatars, unseen = "/_files/media/avatars", f"/api/v1/avatars/{front.unseen}/image"
    ways = ["/", "//", "/media/", "/_files/", "/_files/media/", "/_files/cache/", "/static/"]
    ways += ["/static/../", "/static/..%2f", "/..%2f", "/%2e%2e/", "/.%2e/", "/..;/", "/..\\"]
    ways += [f"{avatars}/", f"{avatars}../", f"{avatars}..", f"{avatars}/%2e%2e/%2e%2e/"]
    ways += [f"{unseen}/../../../../../", f"{unseen}%00/", "/api/v1/admin/uploads/../../../../"]
    for trap in [*TRAPS, "db.sqlite3", "secret_key", "../../../../etc/passwd"]:
        for way in ways:
            answer = raw(front, f"{way}{trap}")
            status = int(answer.split(b" ", 2)[1])
            assert status in (301, 302, 400, 403, 404, 405), f"{way}{trap}: {answer[:200]!r}"
            for secret in (
                SECRET,
                b"SQLite format",
                b"root:",
                (front.home / "secret_key").read_bytes(),
            ):
                assert secret not in answer, f"{way}{trap}"


def test_no_secret_is_in_a_log(front: Front) -> None:
    said = {"Authorization": "Bearer sdt_a-secret-token", "Cookie": "sessionid=a-secret-session"}
    for path in ("/api/v1/admin/pools/", "/manage/pools/", "/nothing/", "/metrics"):
        front.get(f"{path}?key=a-secret-parameter", **said)
    form = {"username": "a-secret-name", "password": "a-secret-word"}
    requests.post(front.url("/admin/login/"), data=form, timeout=20)
    key = (front.home / "secret_key").read_text().strip()
    for log in front.logs:
        text = log.read_text()
        assert "a-secret" not in text and key not in text
    assert "/manage/pools/" in front.logs[1].read_text()


def test_what_nginx_answers_itself_keeps_browsers_safe_too(front: Front) -> None:
    for target in ("/_files/", "/readyz", "/metrics"):
        headers = front.get(target).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Server"] == "nginx" and "Strict-Transport-Security" not in headers
    assert raw(front, "/", "TRACE").startswith(b"HTTP/1.1 405")


def test_claims_that_come_too_fast_get_our_problem(front: Front) -> None:
    refused = [answer for answer in (front.claim() for _ in range(12)) if answer.status_code == 429]
    by_nginx = [answer for answer in refused if "RateLimit-Limit" not in answer.headers]
    assert by_nginx and len(by_nginx) < len(refused)
    for answer in refused:
        assert answer.headers["Content-Type"] == "application/problem+json"
        body = answer.json()
        assert (body["status"], body["code"]) == (429, "throttled")
        assert int(answer.headers["Retry-After"]) >= 1
        assert answer.headers["Cache-Control"] == "no-store"
    # Reading is not claiming.
    assert front.get("/api/v1/pools/").status_code == 200


def test_x_forwarded_for_does_not_choose_the_throttles_key(front: Front) -> None:
    """CLAIMS_PER_MINUTE is 3, and each of these says that it is somebody else."""
    left = []
    for number in range(8):
        answer = front.claim(**{"X-Forwarded-For": f"198.51.100.{number}, 203.0.113.{number}"})
        left.append((answer.status_code, answer.headers.get("RateLimit-Remaining")))
    assert 429 in [status for status, _ in left]
    assert {remaining for status, remaining in left if status == 201} <= {"2", "1", "0"}


def test_a_large_body_is_refused_before_it_is_read(front: Front) -> None:
    answer = requests.post(
        front.url("/api/v1/avatars/"), data=b"x" * 400_000, timeout=20,
        headers={"Content-Type": "application/json"},
    )  # fmt: skip
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_a_requests_id_is_kept_through_nginx_and_in_what_nginx_refuses(front: Front) -> None:
    assert front.get("/api/v1/pools/", **{"X-Request-ID": "mine-1"}).headers[ID] == "mine-1"
    missing = front.get("/metrics", **{"X-Request-ID": "mine-2"})
    assert missing.headers[ID] == missing.json()["request"] == "mine-2"
    made = front.get("/api/v1/nowhere/", **{"X-Request-ID": 'odd"id'})
    assert re.fullmatch("[0-9a-f]{32}", made.headers[ID])
    assert made.json()["request"] == made.headers[ID]


def test_a_server_that_is_away_is_our_problem_too(tmp_path: Path) -> None:
    need("nginx", "envsubst")
    port, env = start_nginx(tmp_path, free_port(), tmp_path)
    with running([DEPLOY / "nginx" / "start.sh"], env, tmp_path / "log", lambda: listens(port)):
        answer = requests.get(f"http://127.0.0.1:{port}/", timeout=20)
    assert (answer.status_code, answer.json()["code"]) == (503, "server_away")
    assert answer.headers["Retry-After"] == "10"


def test_with_a_certificate_it_speaks_tls_and_sends_plain_http_there(tmp_path: Path) -> None:
    need("nginx", "envsubst", "openssl")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-days", "2", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    port, env = start_nginx(
        tmp_path, free_port(), tmp_path, TLS_CERTIFICATE=str(certificate), TLS_KEY=str(key)
    )
    start = [DEPLOY / "nginx" / "start.sh"]
    checked = subprocess.run([*start, "-t"], env=env, capture_output=True, text=True)
    assert checked.returncode == 0 and "test is successful" in checked.stderr, checked.stderr
    assert "warn" not in checked.stderr
    with running(start, env, tmp_path / "log", lambda: listens(int(env["HTTPS_PORT"]))):
        moved = requests.get(f"http://127.0.0.1:{port}/x?y=1", timeout=9, allow_redirects=False)
        assert (moved.status_code, moved.headers["Location"]) == (308, "https://127.0.0.1/x?y=1")
        secure = requests.get(
            f"https://127.0.0.1:{env['HTTPS_PORT']}/", verify=certificate, timeout=9
        )
        assert json.loads(secure.text)["code"] == "server_away"
        assert secure.headers["Strict-Transport-Security"].startswith("max-age=31536000")
        for version in ("TLSv1", "TLSv1_1"):
            old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
            old.minimum_version = old.maximum_version = getattr(ssl.TLSVersion, version)
            address = ("127.0.0.1", int(env["HTTPS_PORT"]))
            with socket.create_connection(address, 9) as plain, pytest.raises(ssl.SSLError):
                old.wrap_socket(plain)
