"""Parts of a real release, composed of tiny ones: which do something, and which nothing."""

from __future__ import annotations

import hashlib
from uuid import uuid4

import pytest
import torch

from generator_worker import engine as engine_module
from generator_worker.contract import RunJob
from generator_worker.engine import Engine
from generator_worker.previews import make
from generator_worker.refusals import BrokenRelease
from generator_worker.signs import Signs
from tests.models_core.enhancer.test_lora import make_enhancer, pairs
from tests.models_core.releases.composing import bundle, write_lora, write_parts


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """Where the worker finds a release with three LoRAs: one that works, one of zeros, one whose
    weight is nothing; and no adapter."""
    torch.set_num_threads(1)
    parts = write_parts(tmp_path_factory.mktemp("parts"))
    zeros = {place: (down, up * 0) for place, (down, up) in pairs(make_enhancer()).items()}
    write_lora(parts / "zeros", zeros)
    folder = tmp_path_factory.mktemp("shelf") / "composed"
    components = {name: parts / name for name in ("pipeline", "critic", "upscaler")}
    for number, name in enumerate(("lora", "zeros", "lora"), start=1):
        components[f"loras/{number}"] = parts / name
    listed = [
        {"folder": "loras/1", "weight": 1.0, "name": "watercolour"},
        {"folder": "loras/2", "weight": 1.0, "name": "zeros"},
        {"folder": "loras/3", "weight": 0.0},
    ]
    return bundle(folder, components, loras=listed, max_unsafe=1, min_score=0).parent


@pytest.fixture
def job(shelf):
    digest = hashlib.sha256((shelf / "composed" / "release.json").read_bytes()).hexdigest()
    params = {"seeds": [1, 2, 3]}
    return RunJob(job_id=uuid4(), kind="preview", release_digest=digest, params=params)


def effects(workshop, engine, job, told=None):
    object.__setattr__(workshop, "engine", engine)
    signs = Signs(lambda fraction, note: (told if told is not None else []).append(note))
    with workshop.outbox.spool(job.job_id) as spool:
        report = make(workshop, job, spool, signs)
    return {part.part: part for part in report.parts}


def test_a_lora_that_changes_nothing_is_told_from_one_that_does(workshop, shelf, job, monkeypatch):
    monkeypatch.setattr("generator_worker.signs.EVERY_SECONDS", 0.0)
    told = []
    engine = Engine([shelf], "cpu")
    found = effects(workshop, engine, job, told)
    assert list(found) == ["watercolour", "zeros", "loras/3"]
    assert {part.kind for part in found.values()} == {"lora"}
    assert not found["watercolour"].changes_nothing
    assert found["watercolour"].mean > 0
    for name in ("zeros", "loras/3"):
        assert (found[name].largest, found[name].changes_nothing) == (0, True)
    assert "drawing without watercolour" in told
    assert engine.loaded == (job.release_digest,)  # the comparisons are not kept


def test_where_memory_holds_one_release_the_whole_one_makes_room(workshop, shelf, job):
    engine = Engine([shelf], "cpu", budget=1)
    found = effects(workshop, engine, job)
    assert not found["watercolour"].changes_nothing
    assert engine.loaded == ()


def test_a_part_without_which_it_cannot_be_opened_is_a_fault(workshop, shelf, job, monkeypatch):
    def broken(folder, device, leave_out=()):
        raise BrokenRelease("shapes differ")

    engine = Engine([shelf], "cpu")
    engine.painter(job.release_digest)
    monkeypatch.setattr(engine_module, "_open", broken)
    with pytest.raises(BrokenRelease, match="shapes differ"):
        effects(workshop, engine, job)
