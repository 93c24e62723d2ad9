"""Admitting workers and turning them away, by the commands, at a real broker."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest
import redis

from generator_worker.contract import own_queues, worker_queue
from tests.deploy import processes
from tests.deploy.broker_host import Broker, Door, broker_host, door_to
from webgui.accounts import audit
from webgui.enrolment import accounts
from webgui.enrolment import broker as brokers
from webgui.enrolment.models import FIRST_UID, Enrolment


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with broker_host(tmp_path_factory.mktemp("broker")) as made:
        yield made


@pytest.fixture
def door(broker: Broker, db: None, home: Path, settings: Any) -> Door:
    return door_to(broker, home, settings)


def account_of(name: str) -> str:
    """Its line at the SFTP server; "" where there is none."""
    path = accounts._place(name)
    return path.read_text() if path.exists() else ""


def acts() -> list[tuple[str, str, str]]:
    entries = audit.AuditEntry.objects.order_by("pk")
    return [(entry.actor, entry.act, entry.target) for entry in entries]


def new_key() -> str:
    return asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()


def test_both_acts_are_in_the_audit_log_without_a_secret(door):
    env = door.admit("gpu1")
    door.admit("gpu1", "--anew")
    door.manage("revoke_worker", "gpu1")
    door.manage("revoke_worker", "gpu1")  # nothing is left to do, so nothing is recorded
    who = audit.COMMAND_LINE
    assert acts() == [
        (who, "worker.admitted", "enrolment/gpu1"),
        (who, "worker.admitted", "enrolment/gpu1"),
        (who, "worker.revoked", "enrolment/gpu1"),
    ]
    first, again, _ = audit.AuditEntry.objects.order_by("pk")
    assert (first.details["anew"], again.details["anew"]) == (False, True)
    assert first.details["public_key"] != again.details["public_key"]
    password = env["STYLEDIFFUSER_BROKER_URL"].split(":")[2].split("@")[0]
    assert password not in str(first.details)


@pytest.mark.parametrize("name", ["gpu1.live", "gpu1.cancel", "../x", "a b", ""])
def test_a_refused_name_leaves_no_trace(door, name):
    """`gpu1.live` would be a queue of gpu1's."""
    assert "use 1 to 63" in door.manage("add_worker", name, fails=True)
    assert (acts(), accounts.present(), brokers.accounts()) == ([], set(), set())


def test_a_worker_may_bring_a_key_of_its_own(door, tmp_path):
    line = new_key()
    out = tmp_path / "gpu1"
    door.manage("add_worker", "gpu1", "--public-key", f"{line} me@gpu1", "--out", str(out))
    assert [path.name for path in out.iterdir()] == ["generator.env"]  # and no private key
    assert stat.S_IMODE((out / "generator.env").stat().st_mode) == 0o600
    row = Enrolment.objects.get()
    assert account_of("gpu1") == f"restrict {row.public_key} {FIRST_UID + row.pk}\n"
    assert row.public_key == " ".join(line.split()[:2])


@pytest.mark.parametrize(
    "line",
    [
        "ssh-rsa AAAAB3NzaC1yc2E=",
        "ssh-ed25519 AAAA",
        "ssh-ed25519",
        'command="id" ssh-ed25519 AAAA',
        "nonsense",
    ],
)
def test_a_key_of_another_kind_is_refused_and_nobody_is_enrolled(door, line):
    assert "ssh-ed25519 AAAA…" in door.manage(
        "add_worker", "gpu1", "--public-key", line, fails=True
    )
    assert (acts(), accounts.present(), brokers.accounts()) == ([], set(), set())


def test_a_line_break_in_a_key_makes_no_second_account(door):
    line = f"{new_key()}\nrestrict ssh-ed25519 AAAA 20099"
    door.admit("gpu1", "--public-key", line)
    assert account_of("gpu1").count("\n") == 1


def test_what_nobody_is_enrolled_for_is_closed(door):
    door.admit("gpu1")
    door.admit("gpu2")
    stray = door.inside(door.admit("stray"))
    assert stray.ping()
    Enrolment.objects.filter(name="stray").delete()  # as after an older backup
    Enrolment.objects.filter(name="gpu2").update(revoked_at="2026-01-01T00:00Z")
    (accounts._folder() / "worker-left").write_text("restrict ssh-ed25519 AAAA 20999\n")
    said = door.manage("sync_workers")
    assert "Admitted: gpu1." in said
    for name in ("worker-gpu2", "worker-left", "worker-stray"):
        assert name in said
    assert (accounts.present(), brokers.accounts()) == ({"worker-gpu1"}, {"worker-gpu1"})
    with pytest.raises(redis.ConnectionError):
        stray.ping()
    assert "Closed, since nobody is enrolled so: none." in door.manage("sync_workers")


def test_a_revoked_worker_is_cut_off_and_its_queues_are_gone(broker, door):
    env = door.admit("gpu1")
    server = broker.client("server")
    inside = door.inside(env)
    assert inside.ping()
    server.lpush(worker_queue("gpu1"), "order")
    assert account_of("gpu1").startswith("restrict ssh-ed25519 ")
    door.manage("revoke_worker", "gpu1")
    with pytest.raises(redis.ConnectionError):
        inside.ping()  # the connection it had was closed, and no other is opened
    assert server.exists(*own_queues("gpu1")) == 0
    assert account_of("gpu1") == ""
    assert "no worker 'nobody'" in door.manage("revoke_worker", "nobody", fails=True)


def test_accounts_outlive_a_restart_and_lost_ones_are_made_anew(broker, door, settings):
    env = door.admit("gpu1")
    again = broker.restart_at(processes.free_port())
    moved = env["STYLEDIFFUSER_BROKER_URL"].replace(f":{broker.port}/", f":{again.port}/")
    settings.BROKER_ADMIN_URL = again.url("admin")
    with again.up():
        assert redis.Redis.from_url(moved).ping()
        again.client("admin").execute_command("ACL", "DELUSER", "worker-gpu1")
        assert "Admitted: gpu1" in door.manage("sync_workers")
        assert redis.Redis.from_url(moved).ping()


def test_a_name_is_enrolled_once_unless_asked_anew(door):
    first = door.admit("gpu1")
    assert "--anew" in door.manage("add_worker", "gpu1", fails=True)
    inside = door.inside(first)
    assert inside.ping()
    second = door.admit("gpu1", "--anew")
    assert door.inside(second).ping()
    with pytest.raises(redis.AuthenticationError):
        inside.ping()  # the connection it had was closed


def test_numbers_are_given_once(door):
    """A folder that a revoked worker left must not become another's."""
    door.admit("gpu1")
    gone = Enrolment.objects.get().uid
    door.manage("revoke_worker", "gpu1")
    door.admit("gpu2")
    assert Enrolment.objects.get(name="gpu2").uid > gone


def test_an_account_that_may_not_admit_is_told_which_setting_to_set(broker, door, settings):
    settings.BROKER_ADMIN_URL = broker.url("server")
    assert "BROKER_ADMIN_URL" in door.manage("add_worker", "gpu1", fails=True)
