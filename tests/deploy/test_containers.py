"""Each service of docker-compose.yml as a real process with the root, user, rights, secrets and
volumes that the file gives it. `make containers` plays all of them together."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.deploy import processes
from tests.deploy.containers import Composition, composition

HOST = "avatars.example.org"
BESIDE = ("redis", "postgres", "nginx")
SERVER = ("web", "server-worker", "ingest-worker", "beat", "nginx")
SETTINGS = {
    "STYLEDIFFUSER_ALLOWED_HOSTS": HOST,
    "STYLEDIFFUSER_WORKERS_BROKER": "redis://redis:6379/0",
    "STYLEDIFFUSER_WORKERS_SFTP": "sftp:2222",
}
SIGHT = "cat /proc/self/status; touch /seen /usr/seen /opt/seen 2>&1; touch /tmp/seen && echo tmp"


@pytest.fixture(scope="module")
def beside() -> Iterator[Composition]:
    processes.need("nginx", "envsubst", "curl", "redis-server", "initdb")
    with composition(SETTINGS) as made, ExitStack() as stack:
        for name in BESIDE:
            stack.enter_context(made.up(name))
        yield made


def confined(made: Composition, name: str) -> None:
    _, seen = made.execute(name, "sh", "-c", SIGHT)
    user = made.services[name]["user"].partition(":")[0]
    assert f"Uid:\t{user}\t{user}\t" in seen
    for rights in ("CapEff", "CapPrm", "CapBnd"):
        assert f"{rights}:\t{0:016x}" in seen, name
    assert "NoNewPrivs:\t1" in seen
    assert seen.count("Read-only file system") == 3 and seen.endswith("tmp\n"), seen


def telltales(made: Composition, name: str) -> list[str]:
    """Secrets that anybody sees who may list this machine's processes."""
    root = Path("/proc", str(made.running[name]))
    shown = (root / "cmdline").read_bytes() + (root / "environ").read_bytes()
    files = (made.folder / "deploy" / "secrets").iterdir()
    return [file.name for file in files if (text := file.read_bytes()) and text in shown]


@pytest.mark.parametrize("name", BESIDE)
def test_it_lives_without_rights_and_without_writing_to_its_root(
    beside: Composition, name: str
) -> None:
    confined(beside, name)
    assert telltales(beside, name) == []


def test_postgres_takes_the_server_by_its_password_alone(beside: Composition) -> None:
    def ask(user: str, password: str, database: str = "stylediffuser") -> tuple[int, str]:
        address = f"host=127.0.0.1 user={user} password={password} dbname={database}"
        return beside.execute("postgres", "psql", address, "-Atc", "SELECT current_user")

    password = (beside.folder / "deploy" / "secrets" / "postgres").read_text()
    assert ask("stylediffuser", password) == (0, "stylediffuser\n")
    assert "password authentication failed" in ask("stylediffuser", "guess")[1]
    assert "no pg_hba.conf entry" in ask("postgres", password)[1]
    assert "no pg_hba.conf entry" in ask("stylediffuser", password, "postgres")[1]
    rights = "SELECT rolsuper OR rolcreatedb OR rolcreaterole FROM pg_roles WHERE rolcanlogin"
    inside = ["psql", "-h", "/tmp", "-Atc", f"{rights} AND rolname <> 'postgres'"]  # noqa: S108
    assert beside.execute("postgres", *inside) == (0, "f\n")


def test_a_health_check_fails_where_its_service_does_not_answer(beside: Composition) -> None:
    for name in BESIDE:
        assert beside.healthy(name)
    beside.execute("redis", "sh", "-c", "kill -STOP $(pidof redis-server)")
    try:
        check = beside.services["redis"]["healthcheck"]["test"][1]
        code, _ = beside.execute("redis", "timeout", "2", "sh", "-c", check)
        assert code != 0
    finally:
        beside.execute("redis", "sh", "-c", "kill -CONT $(pidof redis-server)")


@pytest.fixture(scope="module")
def everything() -> Iterator[Composition]:
    processes.need("nginx", "envsubst", "curl", "redis-server", "initdb", "sshd", "pkill")
    with composition(SETTINGS) as made, ExitStack() as stack:
        env = processes.server_env(made.folder / "build", STATIC_ROOT=str(made.folder / "static"))
        processes.manage(env, "collectstatic", "--no-input", "--verbosity", "0")
        for name in ("redis", "postgres", "sftp"):
            stack.enter_context(made.up(name))
        made.run("migrate")
        for name in SERVER:
            stack.enter_context(made.up(name, 120))
        yield made


@pytest.mark.containers
@pytest.mark.timeout(900)
def test_five_settings_and_a_key_bring_avatars(everything: Composition) -> None:
    """From nothing to a picture, by the steps that docs/deployment.md tells."""
    made = everything
    for name in SERVER:
        confined(made, name)
        assert telltales(made, name) == []
    sizes = ["--low", "4", "--high", "8", "--batch-size", "4"]
    pool = ["--pool", "toon", "--pool-name", "Toon heads"]
    made.run("manage", "load_release", *pool, *sizes)
    made.prepare("generator")
    public = (made.folder / "deploy" / "secrets" / "worker_key.pub").read_text()
    said = made.run("manage", "add_worker", "gpu1", "--public-key", public)
    assert len(said.splitlines()) == 5
    (made.folder / "generator.env").write_text(said)
    with made.up("generator", 300):
        confined(made, "generator")
        wait_for(lambda: level(made) >= 4, 300)
        claimed = ask(made, "-X", "POST", "-d", '{"pool": "toon"}', "/api/v1/avatars/")
        image = json.loads(claimed)["image"].partition(HOST)[2]
        headers = ask(made, "--output", "/tmp/image", "--dump-header", "-", image)  # noqa: S108
        assert "200 OK" in headers and "Server: nginx" in headers
        assert made.execute("nginx", "sh", "-c", "head -c 4 /tmp/image | tail -c 3") == (0, "PNG")
        assert "the database and" in made.run("manage", "backup", "/tmp/backup")  # noqa: S108
        token = (made.folder / "deploy" / "secrets" / "metrics_token").read_text()
        for url in (["-H", f"Authorization: Bearer {token}", "http://web:8000/metrics"],
                    ["http://generator:9100/metrics"]):  # fmt: skip
            code, said = made.execute("nginx", "curl", "-sS", "-H", f"Host: {HOST}", *url)
            assert code == 0 and "stylediffuser_" in said, said


def ask(made: Composition, *arguments: str) -> str:
    *options, path = arguments
    headers = ["-H", f"Host: {HOST}", "-H", "Content-Type: application/json"]
    url = f"http://127.0.0.1:8080{path}"
    code, said = made.execute("nginx", "curl", "--silent", *headers, *options, url)
    assert code == 0, said
    return said


def level(made: Composition) -> int:
    """Asked of the web server itself: nginx keeps this from visitors."""
    url = ["-H", f"Host: {HOST}", "http://web:8000/readyz"]
    pools = json.loads(made.execute("nginx", "curl", "--silent", *url)[1])["pools"]
    return int(pools[0]["available"])


def wait_for(holds: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(1)
