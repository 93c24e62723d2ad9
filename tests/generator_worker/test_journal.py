import os
import time
from uuid import uuid4

from generator_worker.journal import FRESH_SECONDS, Journal


def test_counts_starts_over_restarts(tmp_path):
    order, other = uuid4(), uuid4()
    assert Journal(tmp_path).begin(order) == 1
    assert Journal(tmp_path).begin(order) == 2
    assert Journal(tmp_path).begin(other) == 1


def test_an_order_that_ended_is_forgotten(tmp_path):
    journal, order = Journal(tmp_path), uuid4()
    journal.begin(order)
    assert journal.starts(order) == 1
    journal.end(order)
    assert journal.starts(order) == 0
    assert list(tmp_path.iterdir()) == []


def test_an_orderly_stop_is_no_crash(tmp_path):
    order = uuid4()
    for _ in range(5):
        assert Journal(tmp_path).begin(order) == 1
        Journal(tmp_path).note_stop()
        Journal(tmp_path).forgive_stop()
    assert Journal(tmp_path).begin(order) == 1
    Journal(tmp_path).forgive_stop()  # this time there was none
    assert Journal(tmp_path).begin(order) == 2


def test_a_stop_is_forgiven_to_the_order_it_cut_short_alone(tmp_path):
    journal = Journal(tmp_path)
    crashed, stopped = uuid4(), uuid4()
    for moment, order in ((-FRESH_SECONDS - 2, crashed), (-FRESH_SECONDS - 1, stopped)):
        journal.begin(order)
        os.utime(tmp_path / f"{order}.json", (time.time() + moment,) * 2)
    journal.note_stop()
    journal.forgive_stop()
    assert [journal.starts(order) for order in (crashed, stopped)] == [1, 0]
    journal.forget_old()  # nor has it made them younger
    assert list(tmp_path.iterdir()) == []


def test_a_stop_between_orders_leaves_nothing(tmp_path):
    Journal(tmp_path).note_stop()
    Journal(tmp_path).forgive_stop()
    assert list(tmp_path.iterdir()) == []


def test_forgets_what_is_too_old_or_unreadable_alone(tmp_path):
    journal, old, young = Journal(tmp_path), uuid4(), uuid4()
    journal.begin(old), journal.begin(young)
    os.utime(tmp_path / f"{old}.json", (time.time() - FRESH_SECONDS - 1,) * 2)
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "other.json").write_text('{"begun": 1}')
    journal.forget_old()
    assert [path.stem for path in tmp_path.iterdir()] == [str(young)]
