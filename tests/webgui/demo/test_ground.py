import os
import socket
import stat
import subprocess
import sys

import pytest
from django.conf import settings

from webgui.demo.ground import Taken, free_port, hold_home, listen


def test_a_home_is_held_by_one_demo_at_a_time(tmp_path):
    home = tmp_path / "home"
    with hold_home(home):
        with pytest.raises(Taken, match=r"running in .*home already \(process \d+\)") as taken:
            hold_home(home).__enter__()
        assert "STYLEDIFFUSER_HOME and STYLEDIFFUSER_PORT" in str(taken.value)
        with hold_home(tmp_path / "other"):
            pass
    with hold_home(home):
        pass


def test_a_taken_port_is_said_with_a_free_one():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(Taken, match=f"Port {port} is taken") as taken:
            listen(port)
    suggested = int(str(taken.value).partition("STYLEDIFFUSER_PORT=")[2].split()[0])
    listen(suggested).close()


def test_a_number_that_is_no_port_is_refused():
    with pytest.raises(Taken, match="ports go from 1 to 65535"):
        listen(70_000)


def test_the_port_is_held_from_then_on():
    port = free_port()
    with listen(port), pytest.raises(Taken):
        listen(port)


def test_what_the_demo_writes_is_its_owners_alone(tmp_path):
    home = tmp_path / "home"
    with socket.create_server(("127.0.0.1", 0)) as other:
        env = os.environ | {
            "DJANGO_SETTINGS_MODULE": "webgui.config.settings",
            "STYLEDIFFUSER_HOME": str(home),
            "STYLEDIFFUSER_PORT": str(other.getsockname()[1]),
        }
        command = [sys.executable, settings.BASE_DIR / "manage.py", "demo"]
        done = subprocess.run(command, env=env, umask=0o022, capture_output=True, text=True)
    assert "is taken" in done.stderr  # so it ended before it started anything
    made = [home, *home.iterdir()]
    assert home / "demo.lock" in made
    assert not any(stat.S_IMODE(path.stat().st_mode) & 0o077 for path in made)
