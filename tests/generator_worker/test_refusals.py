from __future__ import annotations

import importlib
import re
from pathlib import Path

from generator_worker.refusals import Refusal

ROOT = Path(__file__).parents[2]


def kinds(cls: type[Refusal]) -> dict[str, bool]:
    """The kind of each sort of refusal, and whether another worker may do better."""
    found = {} if cls is Refusal else {cls.kind: cls.elsewhere}
    for each in cls.__subclasses__():
        found |= kinds(each)
    return found


def test_the_workers_page_tells_of_every_kind_of_refusal():
    for module in (ROOT / "generator_worker").glob("[!_]*.py"):
        importlib.import_module(f"generator_worker.{module.stem}")
    page = (ROOT / "docs" / "worker.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| (yes)? *\| \S", page, re.M)
    assert {kind: bool(yes) for kind, yes in rows} == kinds(Refusal)
