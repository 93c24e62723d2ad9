"""`manage.py demo` as a newcomer meets it: started, used, stopped, started again, killed."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from webgui.demo.ground import free_port


class Demo:
    def __init__(self, home: Path, bundle: Path, port: int) -> None:
        self.home, self.port = home, port
        self.output = home.with_suffix(f".{time.monotonic_ns()}.txt")
        env = {key: value for key, value in os.environ.items() if "STYLEDIFFUSER" not in key}
        env |= {
            "DJANGO_SETTINGS_MODULE": "webgui.config.settings",
            "OMP_NUM_THREADS": "1",
            "STYLEDIFFUSER_HOME": str(home),
            "STYLEDIFFUSER_PORT": str(port),
            "STYLEDIFFUSER_DEMO_RELEASE": str(bundle),
            "STYLEDIFFUSER_AVATAR_SIZE": "128",  # what the tiny release draws
            "STYLEDIFFUSER_DEMO_LOW": "4",
            "STYLEDIFFUSER_DEMO_HIGH": "8",
        }
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "demo"], env=env, stdout=output, stderr=output
            )

    @property
    def said(self) -> str:
        return self.output.read_text()

    def ready(self, seconds: float) -> float:
        """Wait for the address; how long it took."""
        began = time.monotonic()
        while "Ready" not in self.said:
            assert self.process.poll() is None, self.said
            assert time.monotonic() - began < seconds, self.said + self.logs()
            time.sleep(0.1)
        took = time.monotonic() - began
        print(f"{self.home.name}: ready after {took:.1f} s")
        return took

    def refused(self) -> str:
        assert self.process.wait(30) != 0
        assert "Traceback" not in self.said
        return self.said

    def claim(self) -> dict:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/v1/avatars/",
            data=b"{}",
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310
            assert reply.status == 201
            return json.load(reply)

    def processes(self) -> set[int]:
        """All that this demo has started, by the home they were given."""
        found = set()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    environ = (entry / "environ").read_bytes()
                    command = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if str(self.home).encode() in environ + command:
                    found.add(int(entry.name))
        return found

    def gone(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while left := self.processes():
            assert time.monotonic() < deadline, left
            time.sleep(0.1)

    def logs(self) -> str:
        return "".join(
            f"\n--- {path.name}\n{path.read_text(errors='replace')[-2000:]}"
            for path in sorted((self.home / "logs").glob("*.log"))
        )


@pytest.fixture
def demos():
    started: list[Demo] = []
    yield started
    for demo in started:
        for pid in demo.processes():
            os.kill(pid, signal.SIGKILL)
        demo.process.wait()


def test_a_demo_from_first_start_to_kill(demos, bundle, tmp_path):
    def start(home="home", port=None) -> Demo:
        demos.append(Demo(tmp_path / home, bundle, port or free_port()))
        return demos[-1]

    first = start()
    first.ready(120)
    assert re.search(r"user admin, password \S{12,} \(shown only now\)", first.said)
    assert f"http://127.0.0.1:{first.port}/" in first.said
    kept = first.claim()
    assert kept["pool"] == "toon"
    assert len(first.processes()) >= 8

    assert "A demo is running in" in start(home="home").refused()
    assert f"Port {first.port} is taken" in start("other", first.port).refused()
    assert not (tmp_path / "other" / "db.sqlite3").exists()

    database = tmp_path / "home" / "db.sqlite3"
    assert stat.S_IMODE(database.stat().st_mode) == 0o600

    beside = start("beside")
    beside.ready(120)
    assert beside.claim()["id"] != kept["id"]
    assert first.claim()["pool"] == "toon"
    for demo in (beside, first):
        demo.process.send_signal(signal.SIGINT)
    for demo in (beside, first):
        assert demo.process.wait(25) == 0, demo.said
        assert demo.processes() == set()
        assert "nothing is left running" in demo.said

    second = start()
    assert second.ready(30) < 30
    assert "shown only now" not in second.said
    address = f"http://127.0.0.1:{second.port}/api/v1/avatars/{kept['id']}/"
    with urllib.request.urlopen(address, timeout=10) as reply:
        assert json.load(reply)["id"] == kept["id"]
    assert second.claim()["id"] != kept["id"]

    second.process.kill()
    second.process.wait()
    second.gone(20)
