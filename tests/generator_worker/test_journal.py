import os
import time
from uuid import uuid4

from generator_worker.contract import GenerateBatch
from generator_worker.journal import FRESH_SECONDS, Journal


def order(**changes):
    given = {"batch_id": uuid4(), "pool": "toon", "release_digest": "0" * 64, "count": 4}
    return GenerateBatch(**{**given, "base_seed": 1, **changes})


def test_counts_starts_over_restarts(tmp_path):
    asked = order()
    assert Journal(tmp_path).begin(asked) == 1
    assert Journal(tmp_path).begin(asked) == 2
    assert Journal(tmp_path).begin(order()) == 1


def test_says_what_a_crash_cut_short_oldest_first(tmp_path):
    journal = Journal(tmp_path)
    first, second, done = order(), order(), order()
    for moment, asked in enumerate((first, second, done)):
        journal.begin(asked)
        os.utime(tmp_path / f"{asked.batch_id}.json", (time.time() - 60 + moment,) * 2)
    journal.end(done.batch_id)
    assert Journal(tmp_path).unfinished() == [first, second]


def test_forgets_what_is_too_old_or_unreadable(tmp_path):
    journal = Journal(tmp_path)
    old = order()
    journal.begin(old)
    os.utime(tmp_path / f"{old.batch_id}.json", (time.time() - FRESH_SECONDS - 1,) * 2)
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "other.json").write_text('{"order": {"contract": 99}, "starts": 1}')
    assert journal.unfinished() == []
    assert list(tmp_path.iterdir()) == []
