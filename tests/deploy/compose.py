"""docker-compose.yml and deploy/Dockerfile as an engine would read them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.processes import DEPLOY, ROOT

FILE = ROOT / "docker-compose.yml"
_VARIABLE = re.compile(r"\$\$|\$\{(\w+):-([^}]*)\}|\$")


def variables() -> dict[str, str]:
    """Those that the file asks for, with the defaults it has."""
    found = _VARIABLE.findall(FILE.read_text())
    return {name: default for name, default in found if name}


def filled_in(text: str, values: Mapping[str, str]) -> str:
    """As Compose does it; every variable has to have a default."""

    def value(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        assert match[1], f"a variable without a default: {text[match.start() :][:40]}"
        return values.get(match[1]) or match[2]

    return _VARIABLE.sub(value, text)


def load(values: Mapping[str, str] | None = None) -> dict[str, Any]:
    def walk(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: walk(value) for key, value in node.items()}
        if isinstance(node, list):
            return [walk(value) for value in node]
        return filled_in(node, values or {}) if isinstance(node, str) else node

    return dict(walk(yaml.safe_load(FILE.read_text())))


def env_file(path: Path) -> dict[str, str]:
    """A file of NAME=value lines, as --env-file and env_file read it."""
    lines = (line.strip() for line in path.read_text().splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value.strip() for name, _, value in pairs}


@dataclass
class Stage:
    """One stage of the Dockerfile, with what it has from those it stands on."""

    name: str
    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    user: str = "root"
    folder: str = "/"
    command: list[str] = field(default_factory=list)

    def said(self, instruction: str) -> list[str]:
        return [value for name, value in self.steps if name == instruction]


@cache
def stages() -> dict[str, Stage]:
    found: dict[str, Stage] = {}
    stage: Stage | None = None
    text = re.sub(r"^\s*#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.M)
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        name, _, value = line.strip().partition(" ")
        if name == "FROM":
            base, _, own = value.partition(" AS ")
            parent = found.get(base, Stage("", base))
            stage = Stage(own, base, [], dict(parent.env), parent.user, parent.folder)
            found[own] = stage
        elif name and stage is not None:
            stage.steps.append((name, value))
            _note(stage, name, value)
    return found


def _note(stage: Stage, name: str, value: str) -> None:
    if name == "ENV":
        for pair in shlex.split(value):
            key, _, text = pair.partition("=")
            stage.env[key] = text.replace("$PATH", stage.env.get("PATH", "/usr/bin:/bin"))
    elif name == "USER":
        stage.user = value
    elif name == "WORKDIR":
        stage.folder = value
    elif name == "CMD":
        stage.command = json.loads(value)
