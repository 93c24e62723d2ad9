import stat
from dataclasses import replace

import pytest

from webgui.demo import services
from webgui.demo.ground import listen


@pytest.fixture
def plan(tmp_path):
    with listen(0) as web:
        found = services.plan(tmp_path, web)
        yield found
        found.sftp.close()


def test_the_generator_is_told_no_web_secret_and_no_database(plan, monkeypatch):
    monkeypatch.setenv("STYLEDIFFUSER_SECRET_KEY", "hush-hush")
    monkeypatch.setenv("STYLEDIFFUSER_DATABASE_URL", "postgres://u:hush-hush@db/n")
    monkeypatch.setenv("STYLEDIFFUSER_DEVICE", "cuda:1")
    env = plan.worker_env
    assert not any("hush-hush" in value for value in env.values())
    assert not any("DJANGO" in key for key in env)
    assert env["STYLEDIFFUSER_DEVICE"] == "cuda:1"
    assert env["STYLEDIFFUSER_SFTP_HOST_KEY"].startswith("ssh-ed25519 ")
    assert env["STYLEDIFFUSER_WORKER_HOME"] == str(plan.home / "worker")


def test_one_core_is_left_to_visitors(plan, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for cores, threads in (({0}, "1"), ({0, 1}, "1"), ({0, 1, 2, 3}, "3")):
        monkeypatch.setattr(services.os, "sched_getaffinity", lambda pid, cores=cores: cores)
        assert plan.worker_env["OMP_NUM_THREADS"] == threads
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert plan.worker_env["OMP_NUM_THREADS"] == "7"


def test_the_broker_keeps_its_queue_and_its_password(plan):
    service = services.broker(plan)
    config = plan.home / "valkey" / "valkey.conf"
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    text = config.read_text()
    for line in ("bind 127.0.0.1", "appendonly yes", "maxmemory-policy noeviction"):
        assert line in text.splitlines()
    assert f"requirepass {plan.password}" in text
    assert service.last
    assert plan.password not in " ".join(service.argv)


def test_two_plans_share_nothing(plan, tmp_path):
    other = services.plan(tmp_path / "other", plan.web)
    assert other.password != plan.password
    assert other.host_key != plan.host_key
    assert other.sftp.getsockname() != plan.sftp.getsockname()
    assert replace(other, broker_port=1).broker_url.endswith("@127.0.0.1:1/0")
    other.sftp.close()
