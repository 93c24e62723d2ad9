from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256

import pytest

from generator_worker import memory
from generator_worker.engine import Engine
from generator_worker.fetching import Cache
from generator_worker.refusals import BrokenRelease, NotFetched, UnknownRelease
from tests.generator_worker.small_release import SmallRelease
from tests.generator_worker.test_fetching import WEIGHTS, serve


def put(folder, name):
    path = folder / name / "release.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"name": name}))
    return sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def opened(monkeypatch):
    """Which folders were opened, in order."""
    folders = []

    def open_release(folder, device, leave_out=()):
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


MIB = 2**20


@pytest.fixture
def heavy(monkeypatch):
    """Which releases were opened, in order; each takes 64 MiB of this process's memory."""
    folders = []

    def open_release(folder, device, leave_out=()):
        folders.append(folder.name)
        release = SmallRelease(sha256((folder / "release.json").read_bytes()).hexdigest())
        release.weights = bytearray(os.urandom(MIB)) * 64
        return release

    monkeypatch.setattr("generator_worker.engine._open", open_release)
    return folders


def test_keeps_as_many_as_fit_the_most_recently_used(tmp_path, heavy):
    one, two, three = (put(tmp_path, name) for name in ("one", "two", "three"))
    memory.give_back(None)
    engine = Engine([tmp_path], budget=memory.resident() + 160 * MIB)
    engine.release(one)
    engine.release(two)
    assert engine.release(one).digest == one
    assert engine.loaded == (two, one)
    engine.release(three)  # two was not used for longest
    assert engine.loaded == (one, three)
    before = memory.resident()
    engine.release(two)  # what it takes is known by now, so that room is made first
    assert engine.loaded == (three, two)
    assert memory.resident() < before + 32 * MIB
    assert heavy == ["one", "two", "three", "two"]


def test_one_larger_than_the_budget_is_loaded_alone(tmp_path, heavy):
    one, two = put(tmp_path, "one"), put(tmp_path, "two")
    engine = Engine([tmp_path], budget=1)
    engine.release(one)
    engine.release(two)
    assert engine.loaded == (two,)


def test_where_memory_runs_out_while_loading_the_others_make_room(tmp_path, monkeypatch):
    one, two = put(tmp_path, "one"), put(tmp_path, "two")
    engine = Engine([tmp_path])

    def open_release(folder, device, leave_out=()):
        if engine.loaded:
            raise MemoryError("CUDA out of memory")
        return SmallRelease()

    monkeypatch.setattr("generator_worker.engine._open", open_release)
    engine.release(one)
    engine.release(two)
    assert engine.loaded == (two,)


def test_one_that_does_not_fit_at_all_is_said_not_to(tmp_path, monkeypatch):
    one = put(tmp_path, "one")

    def open_release(folder, device, leave_out=()):
        raise MemoryError("CUDA out of memory")

    monkeypatch.setattr("generator_worker.engine._open", open_release)
    with pytest.raises(BrokenRelease, match="does not fit into memory: CUDA out of memory"):
        Engine([tmp_path]).release(one)


@pytest.fixture
def strict(monkeypatch):
    """Opening looks at the weights, as for real."""

    def open_release(folder, device, leave_out=()):
        weights = folder / "model.safetensors"
        if not weights.is_file() or weights.read_bytes() != WEIGHTS:
            raise BrokenRelease("model.safetensors was changed or cut")
        return SmallRelease()

    monkeypatch.setattr("generator_worker.engine._open", open_release)


@pytest.mark.parametrize("rot", [WEIGHTS[:-1], WEIGHTS[:-1] + b"?", None])
def test_what_rots_in_the_cache_is_thrown_away_and_fetched_again(connected, sftp, strict, rot):
    files = {"model.safetensors": WEIGHTS, "config.json": b"{}"}
    digest = serve(sftp.root / "checkpoints", "toon", files)
    engine = Engine([connected.release_cache], source=Cache(connected))
    engine.release(digest)
    file = connected.release_cache / digest / "model.safetensors"
    file.write_bytes(rot) if rot is not None else file.unlink()
    anew = Engine([connected.release_cache], source=Cache(connected))
    notes = []
    assert anew.release(digest, notes.append)
    assert file.read_bytes() == WEIGHTS
    assert notes[0].startswith("loading") and "fetching 0 of 1 MiB" in notes


def test_a_rotten_manifest_is_noticed_too(connected, sftp, strict):
    digest = serve(sftp.root / "checkpoints", "toon", {"model.safetensors": WEIGHTS})
    file = Cache(connected).fetch(digest) / "release.json"
    file.write_text(file.read_text().replace("toon", "taint"))
    assert Engine([connected.release_cache], source=Cache(connected)).release(digest)
    assert sha256(file.read_bytes()).hexdigest() == digest


def test_what_rots_while_the_server_is_away_is_not_drawn_with(connected, sftp, strict, monkeypatch):
    monkeypatch.setattr("generator_worker.fetching.PAUSES", (0.01,))
    digest = serve(sftp.root / "checkpoints", "toon", {"model.safetensors": WEIGHTS})
    folder = Cache(connected).fetch(digest)
    (folder / "model.safetensors").write_bytes(b"rot")
    away = replace(connected, sftp_port=1)
    with pytest.raises(NotFetched, match="was changed or cut It could not be fetched again"):
        Engine([connected.release_cache], source=Cache(away)).release(digest)
    assert Engine([connected.release_cache], source=Cache(connected)).release(digest)


def test_folders_of_the_operators_are_never_changed(tmp_path, connected, strict):
    digest = put(tmp_path / "shelf", "one")
    (tmp_path / "shelf" / "one" / "model.safetensors").write_bytes(b"rot")
    with pytest.raises(BrokenRelease, match="was changed or cut"):
        Engine([tmp_path / "shelf"], source=Cache(connected)).release(digest)
    assert (tmp_path / "shelf" / "one" / "model.safetensors").read_bytes() == b"rot"


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
