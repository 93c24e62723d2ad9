from uuid import uuid4

from generator_worker.contract import (
    BATCH_DELIVERED,
    BATCH_FAILED,
    BATCH_PROGRESS,
    BatchFailed,
    BatchProgress,
)
from generator_worker.refusals import NoRoom
from generator_worker.vitals import Vitals
from tests.generator_worker.conftest import manifest


def test_messages_follow_the_contract(reports, post):
    batch_id = uuid4()
    assert reports.refused(batch_id, 2, NoRoom("x" * 3000))
    assert reports.delivered(manifest(batch_id))
    reports.progress(batch_id, 1.0000001, "n" * 300)
    assert [name for name, _ in post.sent] == [BATCH_FAILED, BATCH_DELIVERED, BATCH_PROGRESS]
    assert post.queues == {
        BATCH_FAILED: "server",
        BATCH_DELIVERED: "ingest",
        BATCH_PROGRESS: "server",
    }
    failed = BatchFailed.read(post.named(BATCH_FAILED)[0])
    assert (failed.batch_id, failed.attempt, len(failed.reason)) == (batch_id, 2, 2000)
    assert (failed.kind, failed.elsewhere) == ("no-room", True)
    assert BatchProgress.read(post.named(BATCH_PROGRESS)[0]).fraction == 1


def test_after_a_failure_progress_keeps_quiet_but_results_are_tried(reports, post):
    post.broken = OSError("away")
    assert reports.delivered(manifest(uuid4())) is False
    post.broken = None
    reports.progress(uuid4(), 0.5)
    assert post.named(BATCH_PROGRESS) == []
    assert reports.delivered(manifest(uuid4()))


def test_vitals_that_are_missing_or_half_written_are_none(tmp_path):
    assert Vitals.read(tmp_path / "vitals.json") == Vitals()
    (tmp_path / "vitals.json").write_text('{"device": ')
    assert Vitals.read(tmp_path / "vitals.json") == Vitals()
    (tmp_path / "vitals.json").write_text('{"unheard": 1, "loaded": []}')
    assert Vitals.read(tmp_path / "vitals.json") == Vitals()
