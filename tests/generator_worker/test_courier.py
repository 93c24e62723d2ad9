from __future__ import annotations

import shutil
import time
from dataclasses import replace

import pytest

from generator_worker import courier as courier_module
from generator_worker.contract import BATCH_DELIVERED
from generator_worker.courier import Courier
from generator_worker.ledger import Ledger


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    found = Clock()
    monkeypatch.setattr(courier_module, "time", found)
    return found


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger.json")


def arrived(sftp):
    return {path.name for path in (sftp.root / "inbox" / "new").iterdir()}


def test_brings_all_that_waits_and_tells_the_server(
    connected, sftp, outbox, reports, ledger, post, spooled
):
    waiting = {str(spooled(images=3)), str(spooled(images=1))}
    Courier(connected, outbox, reports, ledger).round()
    assert arrived(sftp) == waiting
    told = post.named(BATCH_DELIVERED)
    assert {message["batch_id"] for message in told} == waiting
    assert sorted(message["count"] for message in told) == [1, 3]
    assert len(outbox.waiting()) == 2  # only the receipt empties the outbox
    counts = ledger.read()
    assert (counts.deliveries, counts.delivery_failures) == (2, 0)
    assert counts.delivered_bytes == sum(message["bytes"] for message in told)
    assert counts.delivery_seconds > 0


def test_offers_again_what_got_no_receipt_less_and_less_often(
    connected, sftp, outbox, reports, ledger, post, spooled, clock
):
    batch_id = spooled()
    courier = Courier(connected, outbox, reports, ledger)
    courier.round()
    for wait, told in ((59, 1), (2, 2), (119, 2), (2, 3)):
        clock.now += wait
        courier.round()
        assert len(post.named(BATCH_DELIVERED)) == told
    outbox.settle(batch_id)
    clock.now += 10_000
    courier.round()
    assert len(post.named(BATCH_DELIVERED)) == 3


def test_a_receipt_has_time_to_wait_behind_a_long_batch(
    connected, sftp, outbox, reports, ledger, post, spooled, clock
):
    spooled()
    courier = Courier(connected, outbox, reports, ledger)
    with courier.drawing():
        courier.round()
        clock.now += 300  # half of the pause
        courier.round()
    for wait, told in ((29, 1), (2, 2)):
        clock.now += wait
        courier.round()
        assert len(post.named(BATCH_DELIVERED)) == told
    with courier.drawing():  # without a break there are reminders too, though late
        clock.now += 1190
        courier.round()
        assert len(post.named(BATCH_DELIVERED)) == 2
        clock.now += 20
        courier.round()
        assert len(post.named(BATCH_DELIVERED)) == 3


def test_uploads_again_what_the_server_has_lost(
    connected, sftp, outbox, reports, ledger, post, spooled, clock
):
    batch_id = spooled()
    courier = Courier(connected, outbox, reports, ledger)
    courier.round()
    shutil.rmtree(sftp.root / "inbox" / "new" / str(batch_id))
    clock.now += 61
    courier.round()
    assert arrived(sftp) == {str(batch_id)}


def test_rests_longer_and_longer_while_the_link_is_down(
    connected, sftp, outbox, reports, ledger, post, spooled, clock, monkeypatch
):
    tries = []
    real = courier_module.deliver
    monkeypatch.setattr(courier_module, "deliver", lambda *a: tries.append(1) or real(*a))
    spooled(), spooled()
    courier = Courier(replace(connected, sftp_port=1), outbox, reports, ledger)
    courier.round()
    assert len(tries) == 1  # the second batch would fail just so
    for wait, count in ((1.9, 1), (0.2, 2), (3.8, 2), (0.3, 3)):
        clock.now += wait
        courier.round()
        assert len(tries) == count
    assert post.named(BATCH_DELIVERED) == []
    courier._config = connected
    clock.now += 60
    courier.round()
    assert len(arrived(sftp)) == 2
    assert ledger.read().delivery_failures == 3


def test_the_thread_delivers_when_woken_and_once_more_when_stopped(
    connected, sftp, outbox, reports, ledger, spooled
):
    courier = Courier(connected, outbox, reports, ledger)
    courier.start()
    first = spooled()
    courier.wake()
    deadline = time.monotonic() + 10
    while not arrived(sftp) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert arrived(sftp) == {str(first)}
    last = spooled()
    courier.stop()
    assert not courier.is_alive()
    assert arrived(sftp) == {str(first), str(last)}


def test_a_damaged_batch_does_not_hold_up_the_others(
    connected, sftp, outbox, reports, ledger, spooled
):
    broken, good = spooled(), spooled()
    (outbox.folder(broken) / "manifest.json").write_text("{")
    Courier(connected, outbox, reports, ledger).round()
    assert arrived(sftp) == {str(good)}
    assert outbox.holds(broken)
