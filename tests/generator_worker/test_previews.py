"""What a worker tells of a release: its grid, its figures, and its parts that do nothing."""

from __future__ import annotations

import io
from types import SimpleNamespace
from uuid import uuid4

import numpy as np
import pytest
from PIL import Image

from generator_worker import previews, signs
from generator_worker.contract import RunJob
from generator_worker.peak import PeakMemory
from generator_worker.previews import difference, make
from generator_worker.refusals import BadParams, UnknownRelease
from generator_worker.signs import Signs
from tests.generator_worker.small_release import SmallRelease

DIGEST = "0" * 64


class WithAdapter(SmallRelease):
    """Draws another background without its adapter, by so much."""

    apart = 40

    def generate(self, seeds, *, params=None, **options):
        drawn = super().generate(seeds, params=params, **options)
        if (params or {}).get("adapter_scale") == 0:
            for one in drawn:
                red, *rest = one.image.getpixel((1, 0))
                one.image.putpixel((1, 0), ((red + self.apart) % 256, *rest))
        return drawn


@pytest.fixture
def release():
    return WithAdapter(DIGEST)


def asked(seeds=range(1000, 1016), **changes):
    params = {"seeds": list(seeds), "tags": []} | changes
    return RunJob(job_id=uuid4(), kind="preview", release_digest=DIGEST, params=params)


def preview(workshop, job, tell=lambda fraction, note: None):
    with workshop.outbox.spool(job.job_id) as spool:
        report = make(workshop, job, spool, Signs(tell))
        files = {image.file: (spool.folder / image.file).read_bytes() for image in spool.images}
        return report, list(spool.images), files


def test_every_seed_is_shown_also_what_curation_would_drop(workshop):
    report, images, files = preview(workshop, asked())
    assert [image.seed for image in images] == list(range(1000, 1016))
    # 1007 is poor, 1009 unsafe, 1005 repeats 1004, 1015 repeats 1014.
    assert (report.benign, report.kept, report.min_score) == (15, 12, 0.7)
    assert report.curation == "2 near-duplicate, 1 below the critic's threshold, 1 unsafe"
    assert images[7].score == 0.2
    assert images[9].safety == 0.9
    for image in images:
        assert Image.open(io.BytesIO(files[image.file])).size == (512, 512)


def test_the_first_image_is_measured_apart(workshop, release, monkeypatch):
    clock = iter([0, 2, 10, 15, 15, 16, 20, 28, 30, 36])
    monkeypatch.setattr(previews, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    report, _, _ = preview(workshop, asked())
    assert report.load_seconds == 2
    assert report.first_seconds == 5
    assert report.seconds_per_image == round((1 + 8 + 6) / 15, 4)


def test_one_seed_alone_is_measured_all_the_same(workshop):
    report, images, _ = preview(workshop, asked([1000]))
    assert len(images) == 1
    assert report.seconds_per_image == pytest.approx(report.first_seconds, abs=0.001)


def test_seeds_and_tags_are_those_asked_for(workshop, release):
    preview(workshop, asked(tags=["smiling"]))
    seeds = [seed for part, _, params in release.asked if not params for seed in part]
    assert seeds == list(range(1000, 1016))
    assert {tuple(tags) for _, tags, _ in release.asked} == {("smiling",)}


@pytest.mark.parametrize(("apart", "idle"), [(40, False), (2, False), (1, True), (0, True)])
def test_an_adapter_is_told_by_what_changes_without_it(workshop, release, apart, idle):
    release.apart = apart
    report, _, _ = preview(workshop, asked())
    (adapter,) = report.parts
    assert (adapter.part, adapter.kind, adapter.largest) == ("adapter", "adapter", apart)
    assert adapter.changes_nothing is idle
    compared = [part for part, _, params in release.asked if params]
    assert compared == [[1000], [1001]]


def test_progress_goes_up_to_the_end(workshop, monkeypatch):
    monkeypatch.setattr(signs, "EVERY_SECONDS", 0.0)
    told = []
    preview(workshop, asked(), lambda fraction, note: told.append((fraction, note)))
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert 0.95 < fractions[-1] < 1
    assert {note for _, note in told} == {"drawing the grid", "drawing without the adapter"}


def test_the_releases_own_threshold_is_what_benign_means(workshop, release):
    release.manifest["params"]["min_score"] = 0.95
    report, _, _ = preview(workshop, asked())
    assert (report.min_score, report.benign, report.kept) == (0.95, 0, 0)


def test_a_critic_without_its_senses_says_nothing_good(workshop, release, monkeypatch):
    monkeypatch.setattr(release, "score", lambda images: [float("nan")] * len(images))
    report, images, _ = preview(workshop, asked())
    assert (report.benign, {image.score for image in images}) == (0, {0.0})


def test_unreadable_params_are_named(workshop):
    with pytest.raises(BadParams, match="seeds"):
        preview(workshop, asked([]))


def test_a_release_there_is_not_is_named(workshop):
    job = asked().model_copy(update={"release_digest": "a" * 64})
    with pytest.raises(UnknownRelease, match="aaaaaaaaaaaa"):
        preview(workshop, job)


def test_the_difference_of_two_pictures():
    one = Image.new("RGB", (2, 2), (10, 10, 10))
    other = one.copy()
    other.putpixel((0, 0), (10, 250, 9))
    assert difference(one, other) == (240, pytest.approx(241 / 12))
    assert difference(one, one) == (0, 0.0)
    assert difference(one, one.resize((4, 4))) == (255, 255.0)


def test_peak_memory_counts_what_was_given_back_since():
    with PeakMemory() as quiet:
        pass
    with PeakMemory() as busy:
        np.ones(2**26, dtype=np.uint8).sum()  # 64 MiB, all touched
    assert busy.bytes - quiet.bytes > 50 * 2**20
    with PeakMemory() as after:
        pass
    assert after.bytes < busy.bytes - 50 * 2**20  # an earlier peak is not this one's
