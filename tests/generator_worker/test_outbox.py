from uuid import uuid4

import pytest

from generator_worker import outbox as outbox_module
from generator_worker.outbox import Outbox
from tests.generator_worker.conftest import manifest


def test_a_published_batch_is_whole_and_survives_a_restart(outbox, spooled, tmp_path):
    batch_id = spooled(images=3)
    again = Outbox(tmp_path / "outbox")
    assert again.waiting() == [batch_id]
    listed = again.manifest(batch_id)
    names = {path.name for path in again.folder(batch_id).iterdir()}
    assert names == {"0.png", "1.png", "2.png", "manifest.json"}
    assert [image.seed for image in listed.images] == [0, 1, 2]
    assert not list((tmp_path / "outbox" / "making").iterdir())


def test_an_interrupted_batch_leaves_nothing(outbox, tmp_path):
    batch_id = uuid4()
    with pytest.raises(RuntimeError), outbox.spool(batch_id) as draft:
        draft.add(b"png", size=(1, 1), seed=1, score=1, safety=0, tags=[])
        raise RuntimeError("the model broke")
    assert not outbox.holds(batch_id)
    assert not list((tmp_path / "outbox" / "making").iterdir())


def test_what_a_crash_left_is_not_mixed_into_the_next_try(outbox, tmp_path):
    batch_id = uuid4()
    stray = tmp_path / "outbox" / "making" / str(batch_id) / "99.png"
    stray.parent.mkdir()
    stray.write_bytes(b"half")
    with outbox.spool(batch_id) as draft:
        draft.add(b"png", size=(1, 1), seed=1, score=1, safety=0, tags=[])
        draft.publish(manifest(batch_id, tuple(draft.images)))
    assert {p.name for p in outbox.folder(batch_id).iterdir()} == {"1.png", "manifest.json"}


def test_the_receipt_empties_it_and_is_remembered(outbox, spooled):
    batch_id = spooled()
    assert not outbox.is_settled(batch_id)
    assert outbox.settle(batch_id)
    assert outbox.waiting() == []
    assert outbox.is_settled(batch_id)
    assert not outbox.settle(batch_id)


def test_a_receipt_for_a_batch_of_someone_else_changes_nothing(outbox, spooled):
    mine, other = spooled(), uuid4()
    assert not outbox.settle(other)
    assert outbox.waiting() == [mine]
    assert not outbox.is_settled(other)


def test_memory_of_settled_batches_is_bounded(outbox, spooled, tmp_path, monkeypatch):
    monkeypatch.setattr(outbox_module, "REMEMBER_SETTLED", 4)
    settled = []
    for _ in range(6):
        settled.append(spooled(images=1))
        outbox.settle(settled[-1])
    assert 4 <= len(list((tmp_path / "outbox" / "settled").iterdir())) <= 5
    assert outbox.is_settled(settled[-1])


def test_foreign_folders_are_passed_over(outbox, spooled, tmp_path):
    batch_id = spooled()
    (tmp_path / "outbox" / "ready" / "lost+found").mkdir()
    assert outbox.waiting() == [batch_id]
