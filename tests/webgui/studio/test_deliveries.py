"""Taking in what a worker drew for a preview: with every check, once, and judged."""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import Any

import pytest

from generator_worker.contract import JOB_RECEIVED, JobFailed, worker_queue
from tests.webgui.making import make_worker, png, quarantined
from tests.webgui.studio.making import REPORT, asked, deliver, draft, inbox, progress
from webgui.buffer import ingest
from webgui.buffer.ingest import Outcome
from webgui.buffer.pictures import stored
from webgui.studio import deliveries, jobs
from webgui.studio.models import Job, Preview

pytestmark = pytest.mark.django_db
State, Verdict = Job.State, Preview.Verdict


@pytest.fixture
def preview(worker, home) -> Preview:
    return asked()


def again(preview: Preview) -> Preview:
    return Preview.objects.select_related("job__release").get(pk=preview.pk)


def receipts(sent: list) -> list[str]:
    return [queue for task, _, queue in sent if task == JOB_RECEIVED]


def codes(preview: Preview) -> list[str]:
    return [reason["code"] for reason in again(preview).reasons]


def test_a_good_preview_is_kept_and_moves_the_draft_on(preview, sent):
    folder = deliver(preview.job)
    assert deliveries.take_in(preview.pk, "w1") == Outcome.INGESTED
    preview = again(preview)
    assert (preview.verdict, preview.reasons) == (Verdict.GOOD, [])
    assert (preview.job.state, preview.job.result["images"]) == (State.DONE, 16)
    assert preview.release.state == "previewed"
    assert preview.figures["seconds_per_image"] == 0.5
    assert [image["seed"] for image in preview.images] == list(range(1, 17))
    for image in preview.images:
        assert stored(image["digest"], "previews").is_file()
        assert not stored(image["digest"]).exists()  # no avatar of anybody's
    assert not folder.exists()
    assert receipts(sent) == [worker_queue("w1")]


def test_twice_is_once(preview, sent):
    copy = deliver(preview.job)
    kept = copy.with_name("kept")
    shutil.copytree(copy, kept)
    deliveries.take_in(preview.pk)
    settled = again(preview).job.settled_at
    kept.rename(copy)
    assert deliveries.take_in(preview.pk) == Outcome.KNOWN
    assert not copy.exists()
    assert again(preview).job.settled_at == settled
    assert deliveries.take_in(preview.pk, "w1") == Outcome.KNOWN  # nothing left but the message
    assert receipts(sent) == [worker_queue("w1")] * 3


def test_a_lost_message_is_found_by_the_sweep_and_batches_are_left_alone(preview):
    deliver(preview.job)
    assert ingest.sweep() == {}
    assert inbox(preview.job).exists()
    assert deliveries.sweep() == 1
    assert again(preview).verdict == Verdict.GOOD


def test_the_sweep_clears_away_what_only_looks_like_a_job(home):
    place = home / "sftp" / "inbox" / "new" / "job-of-mine"
    place.mkdir(parents=True)
    deliveries.sweep()
    assert quarantined(home) == [
        (quarantined(home)[0][0], "Not a job: its name holds no job's id.")
    ]


def test_a_release_in_use_stays_what_it_is(worker, home):
    release = draft()
    release.state = "active"
    release.save()
    preview = asked(release)
    deliver(preview.job)
    deliveries.take_in(preview.pk)
    assert again(preview).release.state == "active"


@pytest.mark.parametrize(
    ("changes", "count", "size", "code", "says"),
    [
        ({}, 0, 512, "no_image", "drew nothing"),
        ({}, None, 256, "wrong_size", "draws 256×256 pixels; this server gives out 512×512"),
        ({"benign": 0, "kept": 0}, None, 512, "nothing_benign", "calls none of 16 images benign"),
        (
            {"kept": 0, "curation": "16 unsafe"},
            None,
            512,
            "nothing_kept",
            "keep none of 16 images: 16 unsafe",
        ),
        (
            {"parts": [{"part": "adapter", "kind": "adapter", "largest": 1, "mean": 0.01}]},
            None,
            512,
            "idle_part",
            "The adapter changes nothing",
        ),
        (
            {"parts": [{"part": "watercolour", "kind": "lora", "largest": 0, "mean": 0}]},
            None,
            512,
            "idle_part",
            "The LoRA watercolour changes nothing",
        ),
    ],
)
def test_a_bad_preview_says_why_and_what_to_do(preview, changes, count, size, code, says):
    deliver(preview.job, size, count, report=REPORT | changes)
    assert deliveries.take_in(preview.pk) == Outcome.INGESTED
    preview = again(preview)
    assert preview.verdict == Verdict.BAD
    (reason,) = preview.reasons
    assert reason["code"] == code
    assert says in reason["text"]
    assert reason["advice"]
    assert (preview.job.state, preview.release.state) == (State.DONE, "draft")
    assert len(preview.images) == (16 if count is None else count)


def test_a_late_result_of_a_failed_job_is_better_than_none(preview):
    job = preview.job
    jobs.fail(job, "no attempt left")
    assert codes(preview) == ["failed"]
    deliver(job)
    assert deliveries.take_in(preview.pk) == Outcome.INGESTED
    assert again(preview).verdict == Verdict.GOOD
    assert again(preview).job.state == State.DONE


def test_a_late_result_of_a_cancelled_job_is_thrown_away(preview, sent):
    jobs.cancel(preview.job)
    folder = deliver(preview.job)
    assert deliveries.take_in(preview.pk, "w1") == Outcome.KNOWN
    assert not folder.exists()
    assert again(preview).verdict == Verdict.PENDING
    assert receipts(sent) == [worker_queue("w1")]


def test_two_workers_bring_it_and_one_counts(preview, sent):
    make_worker("w2")
    deliver(preview.job, worker="w2")
    assert deliveries.take_in(preview.pk, "w2") == Outcome.INGESTED
    deliver(preview.job, worker="w1")
    assert deliveries.take_in(preview.pk, "w1") == Outcome.KNOWN
    assert again(preview).job.worker == "w2"
    assert receipts(sent) == [worker_queue("w2"), worker_queue("w1")]


def spoil(folder: Any, how: str) -> None:
    listed = json.loads((folder / "manifest.json").read_text())
    image = folder / "1.png"
    match how:
        case "not json":
            (folder / "manifest.json").write_text("{")
            return
        case "flipped byte":
            image.write_bytes(image.read_bytes()[:-20] + b"\0" * 20)
        case "not listed":
            (folder / "extra.png").write_bytes(b"x")
        case "missing":
            image.unlink()
        case "symlink":
            image.unlink()
            image.symlink_to("2.png")
        case "other seed":
            listed["images"][0]["seed"] = 99
        case "same seed twice":
            listed["images"][0]["seed"] = 2
        case "unknown tag":
            listed["images"][0]["tags"] = ["<b>"]
        case "other release":
            listed["release_digest"] = "f" * 64
        case "other kind":
            listed["kind"] = "studio"
        case "other job":
            listed["job_id"] = "00000000-0000-4000-8000-000000000000"
        case "no report":
            listed["report"] = {}
        case "far too large":
            data = png(1, 2052)
            image.write_bytes(data)
            listed["images"][0] |= {"bytes": len(data), "width": 2052, "height": 2052}
            listed["images"][0]["sha256"] = hashlib.sha256(data).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(listed))


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("not json", "manifest.json is not JSON"),
        ("flipped byte", "does not have the digest"),
        ("not listed", "There but not listed: 'extra.png'"),
        ("missing", "Listed but missing: '1.png'"),
        ("symlink", "is no plain file"),
        ("other seed", "not of the seeds that were asked for"),
        ("same seed twice", "not of the seeds that were asked for"),
        ("unknown tag", "Tags the release does not have: <b>"),
        ("other release", "of release ffffffffffff…; asked for was"),
        ("other kind", "It is a studio of release"),
        ("other job", "not of this folder"),
        ("no report", "Its report cannot be read: device"),
        ("far too large", "2048 a side is allowed"),
    ],
)
def test_what_is_not_as_agreed_goes_to_quarantine_whole(preview, sent, home, how, says):
    spoil(deliver(preview.job), how)
    assert deliveries.take_in(preview.pk, "w1") == Outcome.QUARANTINED
    ((delivered, reason),) = quarantined(home)
    assert says in reason
    assert (delivered / "manifest.json").exists()
    preview = again(preview)
    assert (preview.job.state, preview.verdict, preview.images) == (State.FAILED, Verdict.BAD, [])
    assert says in preview.reasons[0]["text"]
    assert not inbox(preview.job).exists()
    assert [path for path in (home / "media").rglob("*.png") if "staging" not in path.parts] == []
    assert receipts(sent) == [worker_queue("w1")]


def test_bad_files_of_a_worker_that_does_not_have_it_any_more_change_nothing(preview, home):
    make_worker("w2")
    job = preview.job
    jobs.refused(JobFailed(job_id=job.pk, worker="w1", attempt=1, reason="tired"))
    jobs.reconcile()
    assert again(preview).job.worker == "w2"
    spoil(deliver(job, worker="w1"), "flipped byte")
    assert deliveries.take_in(job.pk, "w1") == Outcome.QUARANTINED
    assert again(preview).job.state == State.QUEUED
    assert jobs.record(progress(again(preview).job))


def test_a_job_nobody_asked_for_is_put_aside(preview, home, sent):
    folder = deliver(preview.job)
    Job.objects.all().delete()
    assert deliveries.take_in(preview.pk, "w1") == Outcome.QUARANTINED
    assert not folder.exists()
    assert "was never asked for here" in quarantined(home)[0][1]
    assert receipts(sent) == [worker_queue("w1")]


def test_nothing_there_is_no_fault(preview, sent):
    sent.clear()
    assert deliveries.take_in(preview.pk, "w1") == Outcome.ABSENT
    assert sent == []
