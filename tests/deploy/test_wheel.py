"""The package as others install it: nothing that a checkout has is missing from the wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("generator_worker/", "messaging/", "models_core/", "webgui/")
SMOKE = """
import os, sys
from pathlib import Path
from django.core.management import call_command
import django
django.setup()
from django.conf import settings
from django.contrib.staticfiles import finders
from django.test import Client
here = Path(os.environ["UNPACKED"])
assert Path(django.conf.settings.PACKAGE).is_relative_to(here), settings.PACKAGE
assert settings.HOME == Path.cwd() / "var", settings.HOME
call_command("collectstatic", interactive=False, verbosity=0)
call_command("migrate", verbosity=0)
call_command("check", fail_level="WARNING")
from webgui.demo.prepare import load_release
assert load_release()
client = Client(headers={"Host": "localhost"})
page = client.get("/").content.decode()
assert "Generate avatar" in page
assert client.get("/about/").status_code == 200
assert finders.find("js/booth.js") and finders.find("vendor/jquery/jquery.min.js")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from what git tracks, so that nothing else on this disk can help."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    tar = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True,
    ).stdout  # fmt: skip
    subprocess.run(
        ["tar", "-c", "--null", "--files-from=-", "--ignore-failed-read", "-f", source / "all.tar"],
        cwd=ROOT, input=tar, check=True,
    )  # fmt: skip
    subprocess.run(["tar", "-x", "-f", "all.tar"], cwd=source, check=True)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    done = subprocess.run(
        [*command, "--no-build-isolation", "--wheel-dir", out, "."],
        cwd=source, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("*.whl")
    return built


def tracked() -> set[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    files = listed.stdout.splitlines()
    found = {name for name in files if name.startswith(PACKAGES)}
    found -= {"webgui/docs", "webgui/static", "webgui/templates"}  # links to what follows
    shown = ("docs/operating.md", "static/", "templates/")
    return found | {f"webgui/{name}" for name in files if name.startswith(shown)}


def test_the_wheel_holds_all_that_the_repository_does(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    assert sorted(tracked() - inside) == []
    assert not [name for name in inside if name.startswith(("tests/", "docs/", "deploy/"))]


def test_server_and_models_run_from_it(wheel: Path, tmp_path: Path) -> None:
    unpacked, home = tmp_path / "unpacked", tmp_path / "elsewhere"
    home.mkdir()
    zipfile.ZipFile(wheel).extractall(unpacked)
    clean = {key: value for key, value in os.environ.items() if "STYLEDIFFUSER" not in key}
    env = clean | {
        "PYTHONPATH": str(unpacked),
        "UNPACKED": str(unpacked),
        "DJANGO_SETTINGS_MODULE": "webgui.config.settings",
        "STYLEDIFFUSER_STATIC_ROOT": str(home / "static"),
    }

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=home, env=env, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("-c", SMOKE)
    assert "run_sftp" in run("-m", "webgui", "help")
    bundle = unpacked / "models_core" / "releases" / "demo"
    assert '"ready"' in run("-m", "models_core", "inspect", str(bundle), "--json")
