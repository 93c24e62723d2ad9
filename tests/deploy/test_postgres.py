"""PostgreSQL with deploy/postgres's settings: one role for one database, and nobody else."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import psycopg
import pytest

from tests.deploy.database import START, Database, database_host, somebody

EARLIER = "an-earlier-password"


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with database_host() as made:
        with made.up(EARLIER), psycopg.connect(made.url_of("stylediffuser", EARLIER)) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1")
        with made.up():
            yield made


def test_the_server_finds_a_database_of_its_own_with_the_settings_that_claims_rely_on(database):
    with psycopg.connect(database.url) as connection:
        shown = {
            name: connection.execute(f"SHOW {name}").fetchone()[0]
            for name in ("synchronous_commit", "fsync", "data_checksums", "jit", "TimeZone")
        }
        rights = connection.execute(
            "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication FROM pg_roles"
            " WHERE rolname = current_user"
        ).fetchone()
    assert shown == {
        "synchronous_commit": "on", "fsync": "on", "data_checksums": "on", "jit": "off",
        "TimeZone": "UTC",
    }  # fmt: skip
    assert rights == (False, False, False, False)


def test_nobody_else_comes_in_over_the_network(database):
    owner = somebody().get("user", "postgres")
    for url in (
        database.url_of("stylediffuser", "another-password"),
        database.url_of(owner),
        database.url_of("postgres"),
        database.url_of("stylediffuser", name="postgres"),
    ):
        with pytest.raises(
            psycopg.OperationalError, match=r"authentication failed|no pg_hba\.conf"
        ):
            psycopg.connect(url, connect_timeout=5)


@pytest.mark.parametrize(
    ("password", "why"), [("short", "less than 16"), ("sixteen'; DROP ROLE --", "letters")]
)
def test_a_password_that_will_not_do_is_refused(database, tmp_path, password, why):
    (tmp_path / "password").write_text(password)
    env = database.env | {"PASSWORD_FILE": str(tmp_path / "password"), "DATA": str(tmp_path)}
    done = subprocess.run([START], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert why in done.stderr


def test_a_new_password_holds_from_the_next_start_on_and_what_was_there_is_there_still(database):
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        psycopg.connect(database.url_of("stylediffuser", EARLIER), connect_timeout=5)
    with psycopg.connect(database.url) as connection:
        assert connection.execute("SELECT * FROM kept").fetchall() == [(1,)]
