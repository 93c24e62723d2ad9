from __future__ import annotations

import json
import os
import subprocess
import sys
from hashlib import sha256

import pytest

from generator_worker.engine import BrokenRelease, Engine, UnknownRelease
from tests.generator_worker.small_release import SmallRelease


def put(folder, name):
    path = folder / name / "release.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"name": name}))
    return sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def opened(monkeypatch):
    """Which folders were opened, in order."""
    folders = []

    def open_release(folder, device):
        folders.append(folder.name)
        return SmallRelease(sha256((folder / "release.json").read_bytes()).hexdigest())

    monkeypatch.setattr("generator_worker.engine._open", open_release)
    return folders


def test_finds_a_release_by_digest_along_the_path(tmp_path):
    first, second = put(tmp_path / "a", "one"), put(tmp_path / "b", "two")
    engine = Engine([tmp_path / "absent", tmp_path / "a", tmp_path / "b" / "two"])
    assert engine.find(first) == tmp_path / "a" / "one"
    assert engine.find(second) == tmp_path / "b" / "two"


def test_finds_a_release_that_came_while_it_ran(tmp_path):
    engine = Engine([tmp_path])
    with pytest.raises(UnknownRelease):
        engine.find("0" * 64)
    digest = put(tmp_path, "late")
    assert engine.find(digest).name == "late"


def test_keeps_the_most_recently_used(tmp_path, opened):
    one, two, three = (put(tmp_path, name) for name in ("one", "two", "three"))
    engine = Engine([tmp_path], max_loaded=2)
    engine.release(one)
    engine.release(two)
    assert engine.release(one).digest == one
    engine.release(three)  # two was not used for longest
    assert engine.loaded == (one, three)
    engine.release(two)
    assert opened == ["one", "two", "three", "two"]


def test_warm_up_opens_the_only_release(tmp_path, opened):
    put(tmp_path, "one")
    engine = Engine([tmp_path])
    engine.warm_up()
    assert opened == ["one"]


def test_warm_up_chooses_none_of_several(tmp_path, opened):
    put(tmp_path, "one"), put(tmp_path, "two")
    engine = Engine([tmp_path])
    engine.warm_up()
    assert (opened, engine.loaded) == ([], ())


def test_a_broken_bundle_is_said_to_be_one(tmp_path):
    digest = put(tmp_path, "broken")
    engine = Engine([tmp_path])
    with pytest.raises(BrokenRelease, match=r"broken"):
        engine.release(digest)
    assert engine.loaded == ()


def test_the_main_process_imports_no_model_code():
    code = (
        "import sys, generator_worker.app, generator_worker.tasks, generator_worker.lifecycle\n"
        "heavy = 'torch', 'numpy', 'PIL', 'models_core', 'django.db'\n"
        "print([module for module in heavy if module in sys.modules])"
    )
    env = {key: value for key, value in os.environ.items() if "DJANGO" not in key}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env
    )
    assert done.stdout.strip() == "[]"
