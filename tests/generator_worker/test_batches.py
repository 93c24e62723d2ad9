from __future__ import annotations

import errno
import io
import time
from dataclasses import replace
from hashlib import sha256
from uuid import uuid4

import pytest
from PIL import Image

from generator_worker.batches import carry_out
from generator_worker.contract import BATCH_FAILED, BATCH_PROGRESS, Duty, GenerateBatch
from generator_worker.drawing import AT_ONCE
from generator_worker.journal import MAX_STARTS
from generator_worker.outbox import Outbox, Spool

DIGEST = "0" * 64


def order(**changes):
    given = {
        "batch_id": uuid4(),
        "pool": "toon",
        "release_digest": DIGEST,
        "count": 10,
        "base_seed": 1000,
    }
    return GenerateBatch(**{**given, **changes})


def test_a_batch_is_curated_enlarged_and_spooled(workshop, release, outbox):
    asked = order()
    assert carry_out(workshop, asked).images == 7
    manifest = outbox.manifest(asked.batch_id)
    # 1005 repeats 1004, 1007 is poor, 1009 unsafe.
    assert [image.seed for image in manifest.images] == [1000, 1001, 1002, 1003, 1004, 1006, 1008]
    assert (manifest.batch_id, manifest.worker) == (asked.batch_id, "painter")
    assert manifest.release_digest == DIGEST
    for image in manifest.images:
        data = (outbox.folder(asked.batch_id) / image.file).read_bytes()
        assert (sha256(data).hexdigest(), len(data)) == (image.sha256, image.bytes)
        assert Image.open(io.BytesIO(data)).size == (512, 512) == (image.width, image.height)
        assert image.score == 0.9


def test_only_keepers_are_enlarged(workshop, release):
    carry_out(workshop, order())
    assert release.upscaled == 7


def test_works_in_small_parts_over_all_seeds(workshop, release):
    carry_out(workshop, order(count=20))
    parts = [seeds for seeds, _, _ in release.asked]
    assert max(map(len, parts)) == AT_ONCE
    assert [seed for part in parts for seed in part] == list(range(1000, 1020))


def test_a_batch_in_the_outbox_or_settled_is_not_made_again(workshop, release, outbox):
    asked = order()
    carry_out(workshop, asked)
    made = len(release.asked)
    assert carry_out(workshop, order(batch_id=asked.batch_id, attempt=2)) is None
    outbox.settle(asked.batch_id)
    assert carry_out(workshop, asked) is None
    assert len(release.asked) == made


def test_tags_and_thresholds_are_ours_the_rest_the_models(workshop, release, outbox):
    asked = order(params={"tags": ["smiling"], "min_score": 0.1, "steps": 4})
    assert carry_out(workshop, asked).images == 8
    assert release.asked[0][1:] == (["smiling"], {"steps": 4})
    manifest = outbox.manifest(asked.batch_id)
    assert manifest.images[0].tags == ("smiling",)
    assert manifest.params == asked.params


def test_the_releases_own_threshold_goes_before_the_usual_one(workshop, release):
    release.manifest["params"]["min_score"] = 0.95
    assert carry_out(workshop, order()) is None


def test_progress_goes_up_to_the_end(workshop, post, monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr("generator_worker.signs.time.monotonic", lambda: next(clock))
    carry_out(workshop, order(count=16))
    fractions = [message["fraction"] for message in post.named(BATCH_PROGRESS)]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert fractions[-1] == 1
    assert len(fractions) == 9  # begun, then 3 steps and an end for each of 2 parts


def test_progress_is_sent_about_once_a_second(workshop, post):
    carry_out(workshop, order(count=40))
    assert len(post.named(BATCH_PROGRESS)) <= 3


def refusal(workshop, post, asked):
    assert carry_out(workshop, asked) is None
    (failed,) = post.named(BATCH_FAILED)
    assert failed["batch_id"] == str(asked.batch_id)
    assert not workshop.outbox.holds(asked.batch_id)
    assert workshop.journal.starts(asked.batch_id) == 0
    return failed["reason"]


def test_an_unknown_release_is_refused_with_the_reason(workshop, post):
    reason = refusal(workshop, post, order(release_digest="a" * 64))
    assert "does not have release aaaaaaaaaaaa" in reason
    assert "STYLEDIFFUSER_RELEASES" in reason


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"min_score": "high"}, "params.min_score: 'high' is not a number"),
        ({"tags": "smiling"}, "params.tags: 'smiling' is not a list"),
        ({"tags": [1]}, "params.tags"),
    ],
)
def test_unusable_params_are_refused_and_named(workshop, post, params, says):
    assert says in refusal(workshop, post, order(params=params))


def test_a_batch_of_which_nothing_is_left_is_refused_with_the_counts(workshop, post):
    reason = refusal(workshop, post, order(count=1, base_seed=1007))
    assert "kept none of 1 images (1 below the critic's threshold)" in reason
    assert post.named(BATCH_FAILED)[0]["drawn"] == 1


def broken(*args, **options):
    raise RuntimeError("matrix of the wrong shape")


def test_a_fault_of_the_model_is_told_with_its_kind(workshop, post, release, monkeypatch):
    monkeypatch.setattr(release, "generate", broken)
    assert refusal(workshop, post, order()) == "RuntimeError: matrix of the wrong shape"
    (failed,) = post.named(BATCH_FAILED)
    assert (failed["kind"], failed["elsewhere"]) == ("drawing-fault", True)
    assert workshop.ledger.read().failures == {"drawing-fault": 1}


def test_three_faults_in_a_row_make_a_release_faulty_here(workshop, post, release, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(release, "generate", broken)
        for _ in range(3):
            assert workshop.faulty.fault(DIGEST) is None
            carry_out(workshop, order())
    assert carry_out(workshop, order()) is None  # though it would work now
    failed = post.named(BATCH_FAILED)[-1]
    assert (failed["kind"], failed["elsewhere"]) == ("faulty-release", True)
    assert "failed 3 times in a row on worker painter" in failed["reason"]
    assert "matrix of the wrong shape" in failed["reason"]
    workshop.faulty.forgive(DIGEST)
    assert carry_out(workshop, order()).images == 7


def test_what_works_in_between_starts_the_count_anew(workshop, release, monkeypatch):
    for _ in range(3):
        with monkeypatch.context() as patched:
            patched.setattr(release, "generate", broken)
            carry_out(workshop, order())
            carry_out(workshop, order())
        assert carry_out(workshop, order()).images == 7
    assert workshop.faulty.listed() == ()


def test_faults_of_orders_are_no_faults_of_releases(workshop, release):
    for _ in range(4):
        carry_out(workshop, order(params={"min_score": "high"}))
        carry_out(workshop, order(count=1, base_seed=1007))
    assert workshop.faulty.listed() == ()


def test_in_maintenance_nothing_is_begun(workshop, post, release):
    workshop.duty.write(Duty.MAINTENANCE)
    assert "painter is in maintenance" in refusal(workshop, post, order())
    assert post.named(BATCH_FAILED)[0]["elsewhere"]
    assert release.asked == []


def test_a_draining_worker_finishes_what_it_has(workshop):
    workshop.duty.write(Duty.DRAINING)
    assert carry_out(workshop, order()).images == 7


def test_without_room_on_its_disk_it_takes_nothing_on(workshop, post, release):
    cramped = replace(workshop, config=replace(workshop.config, min_free_mib=100_000_000))
    reason = refusal(cramped, post, order())
    assert "MiB left on the disk" in reason and "MIN_FREE_MIB asks for 100000000" in reason
    assert (post.named(BATCH_FAILED)[0]["kind"], release.asked) == ("no-room", [])


def test_a_batch_that_takes_too_long_is_stopped(workshop, post, release):
    hurried = replace(workshop, config=replace(workshop.config, batch_seconds=0.0))
    reason = refusal(hurried, post, order())
    assert reason.startswith("After 0 s, STYLEDIFFUSER_BATCH_SECONDS, ")
    assert post.named(BATCH_FAILED)[0]["kind"] == "too-long"
    assert len(release.asked) == 1  # at its first step


def test_what_was_made_is_counted(workshop):
    carry_out(workshop, order())
    counts = workshop.ledger.read()
    assert (counts.batches, counts.drawn, counts.images) == (1, 10, 7)
    assert counts.dropped == {
        "near-duplicate": 1, "below the critic's threshold": 1, "unsafe": 1
    }  # fmt: skip
    assert (sum(counts.scores), round(counts.score_sum, 6)) == (10, 8.3)
    assert counts.scores[3] == 1 and counts.scores[17] == 9
    assert counts.seconds > 0


def test_signs_of_life_are_given_while_a_release_loads(workshop, post, monkeypatch):
    monkeypatch.setattr("generator_worker.signs.EVERY_SECONDS", 0.0)
    monkeypatch.setattr("generator_worker.signs.QUIET_SECONDS", 0.01)
    load = workshop.engine.painter

    def slowly(digest, tell):
        tell("fetching 120 of 400 MiB")
        time.sleep(0.2)
        return load(digest)

    monkeypatch.setattr(workshop.engine, "painter", slowly)
    carry_out(workshop, order())
    notes = [message["note"] for message in post.named(BATCH_PROGRESS)]
    assert notes.count("fetching 120 of 400 MiB") > 2
    assert notes.index("begun") > notes.index("fetching 120 of 400 MiB")


def test_a_full_disk_is_told_and_leaves_nothing_half_done(workshop, post, monkeypatch):
    def full(self, png, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Spool, "add", full)
    assert "No space left on device" in refusal(workshop, post, order())


def test_an_order_that_kills_its_process_is_given_up(workshop, post, release, monkeypatch):
    asked = order()

    class Killed(BaseException):
        """What a SIGKILL looks like from here: no handler runs."""

    def die(*args, **options):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(release, "generate", die)
        for start in range(MAX_STARTS):
            with pytest.raises(Killed):
                carry_out(workshop, asked)
            assert workshop.journal.starts(asked.batch_id) == start + 1
    assert post.named(BATCH_FAILED) == []
    reason = refusal(workshop, post, asked)
    assert "died 3 times while making this batch on worker painter" in reason
    assert release.asked == []
    # One order may be to blame alone: its release is drawn on.
    assert carry_out(workshop, order()).images == 7


def test_a_release_whose_orders_all_kill_is_faulty(workshop):
    for _ in range(3):
        assert workshop.faulty.fault(DIGEST) is None
        asked = order()
        for _ in range(MAX_STARTS):
            workshop.journal.begin(asked.batch_id)
        assert carry_out(workshop, asked) is None
    assert "died 3 times" in workshop.faulty.fault(DIGEST).reason


def test_a_server_that_cannot_be_told_stops_no_work(workshop, post, outbox):
    post.broken = ConnectionError("broker away")
    asked = order()
    assert carry_out(workshop, asked).images == 7
    assert isinstance(workshop.outbox, Outbox)
    assert outbox.holds(asked.batch_id)
