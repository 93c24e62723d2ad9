"""`make demo` on a machine that lacks something says what, and leaves nothing half-made."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from django.conf import settings

OLD = "exit 1"
WITHOUT_VENV = 'case "$1" in -c) exit 0;; esac; mkdir -p .venv/bin; touch .venv/bin/python; exit 1'


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(settings.BASE_DIR / name, tmp_path)
    return tmp_path


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def make(checkout: Path, *arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    env = {"PATH": f"{path}:{os.environ['PATH']}"}
    return subprocess.run(
        ["make", "-C", str(checkout), *arguments], env=env, capture_output=True, text=True
    )


def test_an_old_python_is_refused_with_what_to_do(checkout: Path) -> None:
    done = make(checkout, "demo", f"PYTHON={program(checkout / 'old', OLD)}")
    assert done.returncode != 0
    assert "needs Python 3.11 or newer" in done.stderr
    assert "make demo PYTHON=/path/to/python3.11" in done.stderr
    assert not (checkout / ".venv").exists()


def test_a_newer_python_beside_an_old_one_is_found(checkout: Path) -> None:
    program(checkout / "bin" / "python3", OLD)
    program(checkout / "bin" / "python3.11", "exit 0")
    done = make(checkout, "--dry-run", "demo", path=str(checkout / "bin"))
    assert "python3.11 -m venv .venv" in done.stdout


def test_a_failed_environment_is_removed_and_its_package_named(checkout: Path) -> None:
    done = make(checkout, "demo", f"PYTHON={program(checkout / 'bare', WITHOUT_VENV)}")
    assert done.returncode != 0
    assert "apt install python3-venv" in done.stderr
    assert not (checkout / ".venv").exists()
