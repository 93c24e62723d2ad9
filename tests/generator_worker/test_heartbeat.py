"""What a heartbeat says, from what lies on the worker's disk."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from generator_worker import memory
from generator_worker.contract import HEARTBEAT, Duty, Finding, Heartbeat, State
from generator_worker.duty import DutyBook
from generator_worker.faulty import FaultyReleases
from generator_worker.heartbeat import Pulse
from generator_worker.ledger import Ledger
from generator_worker.readiness import Readiness
from generator_worker.vitals import Vitals

DIGEST = "a" * 64


@pytest.fixture
def books(config):
    config.home.mkdir(parents=True)
    home = config.home
    return (
        DutyBook(home / "duty"),
        FaultyReleases(home / "faulty.json", "tests"),
        Ledger(home / "ledger.json"),
    )


@pytest.fixture
def readiness():
    readiness = Readiness()
    readiness.passed = True
    return readiness


@pytest.fixture
def pulse(config, outbox, reports, readiness, books):
    return Pulse(config, outbox, reports, readiness, books)


def show(config, **changes) -> None:
    given = {"device": "NVIDIA L4", "memory_bytes": 24 * 2**30, "loaded": (DIGEST,)}
    Vitals(**{**given, **changes}).write(config.home / "vitals.json")


def test_it_tells_what_the_child_and_the_books_say(pulse, config, books, post, spooled):
    duty, faulty, ledger = books
    show(config, images_per_minute=88.5, speeds={DIGEST: 1.75}, pid=os.getpid())
    for _ in range(3):
        faulty.failed("b" * 64, "NaN")
    ledger.made(10, 7, 4.0, {})
    ledger.failed("too-long")
    duty.write(Duty.DRAINING)
    spooled()
    pulse.stop()
    pulse.run()
    beat = Heartbeat.read(post.named(HEARTBEAT)[0])
    assert (beat.worker, beat.device, beat.images_per_minute) == ("painter", "NVIDIA L4", 88.5)
    assert (beat.loaded, beat.outbox, beat.speeds) == ((DIGEST,), 1, {DIGEST: 1.75})
    assert (beat.batches, beat.images, beat.failures) == (1, 7, {"too-long": 1})
    assert [fault.reason for fault in beat.faulty] == ["NaN"]
    assert (beat.duty, beat.state, beat.findings) == (Duty.DRAINING, State.IDLE, ())
    assert abs((datetime.now(UTC) - beat.clock).total_seconds()) < 5
    assert beat.started <= beat.clock
    # Counted twice here, where the child is this process.
    assert 1.5 * memory.resident() < beat.resident_bytes < 2.5 * memory.resident()
    assert beat.disk_free_bytes > 0
    assert (beat.gpu, beat.gpu_use) == ("", None)


def test_states_follow_what_it_is_at(pulse, config, readiness, books, spooled, outbox):
    readiness.passed = False
    assert pulse.beat().state == State.STARTING
    bad = Finding(check="sftp", level="failure", detail="refuses connections", advice="start it")
    readiness.findings = (bad, Finding(check="broker", level="ok", detail="fine"))
    assert (pulse.beat().state, pulse.beat().findings) == (State.REFUSING, (bad,))
    readiness.findings, readiness.passed = (), True
    assert pulse.beat().state == State.STARTING  # the child is not up
    show(config)
    assert pulse.beat().state == State.IDLE
    show(config, busy=True)
    assert pulse.beat().state == State.BUSY
    books[0].write(Duty.DRAINING)
    assert pulse.beat().state == State.BUSY
    show(config)
    assert pulse.beat().state == State.DRAINED
    batch = spooled()
    assert pulse.beat().state == State.IDLE  # what it made is not at the server yet
    outbox.settle(batch)
    assert pulse.beat().state == State.DRAINED


def test_while_a_new_child_comes_up_it_is_neither_idle_nor_busy(pulse, config, readiness):
    readiness.passed = True
    child = subprocess.Popen(["sleep", "60"])
    show(config, pid=child.pid, busy=True)
    assert pulse.beat().state == State.BUSY
    child.kill()
    child.wait()
    assert pulse.beat().state == State.STARTING
    show(config, pid=os.getpid())
    assert pulse.beat().state == State.IDLE


def test_a_full_disk_and_a_dead_link_are_told(config, outbox, reports, readiness, books):
    show(config, link="3 batches wait: refuses connections")
    cramped = replace(config, min_free_mib=100_000_000)
    beat = Pulse(cramped, outbox, reports, readiness, books).beat()
    assert beat.state == State.REFUSING
    told = {(finding.check, finding.level) for finding in beat.findings}
    assert told == {("disk", "failure"), ("delivery", "warning")}


def test_news_does_not_wait_for_the_next_beat(pulse, config, post, books):
    def beats(number):
        deadline = time.monotonic() + 8
        while len(post.named(HEARTBEAT)) < number and time.monotonic() < deadline:
            time.sleep(0.05)
        return len(post.named(HEARTBEAT))

    show(config)
    pulse.start()
    assert beats(1) == 1
    show(config, speeds={DIGEST: 1.5})
    assert beats(2) == 2
    books[0].write(Duty.DRAINING)
    assert beats(3) == 3
    show(config, speeds={DIGEST: 1.6}, busy=True)  # no news
    time.sleep(1.5)
    pulse.stop()
    pulse.join(10)
    assert [beat["duty"] for beat in post.named(HEARTBEAT)] == ["working", "working", "draining"]


def test_no_fork_falls_into_the_sending_of_one(pulse, post):
    """A child forked meanwhile would inherit locks that nobody opens again."""
    sending, go = threading.Event(), threading.Event()
    send = post.send_task

    def slowly(name, **options):
        sending.set()
        go.wait(10)
        send(name, **options)

    post.send_task = slowly
    pulse.start()
    assert sending.wait(20)
    threading.Timer(0.5, go.set).start()
    began = time.monotonic()
    if (pid := os.fork()) == 0:
        os._exit(0)
    waited = time.monotonic() - began
    os.waitpid(pid, 0)
    pulse.stop()
    pulse.join(10)
    assert waited > 0.3
    assert len(post.named(HEARTBEAT)) == 1
