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


def test_an_orderly_stop_is_no_crash(tmp_path):
    asked = order()
    for _ in range(5):
        assert Journal(tmp_path).begin(asked) == 1
        Journal(tmp_path).note_stop()
        assert Journal(tmp_path).unfinished() == [asked]
        Journal(tmp_path).forgive_stop()
    assert Journal(tmp_path).begin(asked) == 1
    Journal(tmp_path).forgive_stop()  # this time there was none
    assert Journal(tmp_path).begin(asked) == 2


def test_a_stop_is_forgiven_to_the_order_it_cut_short_alone(tmp_path):
    journal = Journal(tmp_path)
    crashed, stopped = order(), order()
    for moment, asked in ((-FRESH_SECONDS - 2, crashed), (-FRESH_SECONDS - 1, stopped)):
        journal.begin(asked)
        os.utime(tmp_path / f"{asked.batch_id}.json", (time.time() + moment,) * 2)
    journal.note_stop()
    journal.forgive_stop()
    starts = [
        journal._read(journal._path(asked.batch_id))["starts"] for asked in (crashed, stopped)
    ]
    assert starts == [1, 0]
    assert journal.unfinished() == []  # nor has it made them younger


def test_a_stop_between_orders_leaves_nothing(tmp_path):
    Journal(tmp_path).note_stop()
    Journal(tmp_path).forgive_stop()
    assert list(tmp_path.iterdir()) == []


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
