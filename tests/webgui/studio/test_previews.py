"""Which preview speaks for a release, and which are let go of."""

from __future__ import annotations

import os
import time
from datetime import timedelta

import pytest
from django.db.models import F

from tests.webgui.studio.making import REPORT, asked, deliver, draft
from webgui.buffer.pictures import stored
from webgui.registry import loading
from webgui.studio import deliveries, jobs, previews
from webgui.studio.models import Job, Preview

pytestmark = pytest.mark.django_db


def previewed(release, **report) -> Preview:
    preview = asked(release)
    deliver(preview.job, report=REPORT | report)
    deliveries.take_in(preview.pk)
    return Preview.objects.get(pk=preview.pk)


def age(*several: Preview, days: int) -> None:
    """Make them so much older, with their pictures."""
    past = timedelta(days=days)
    for preview in several:
        rows = Job.objects.filter(pk=preview.pk)
        rows.update(created_at=F("created_at") - past, settled_at=F("settled_at") - past)
    for preview in several:
        for image in preview.images:
            path = stored(image["digest"], Preview.SHELF)
            os.utime(path, (time.time() - past.total_seconds(),) * 2)


def test_the_latest_that_was_not_called_off_speaks_for_a_release(worker, home):
    one, other, none = draft("one"), draft("other"), draft("none")
    first, second = previewed(one), previewed(other)
    jobs.cancel(asked(one).job)
    Standing = previews.Standing
    assert previews.standings([one, other, none]) == {
        one.pk: Standing(judged=first),
        other.pk: Standing(judged=second),
        none.pk: Standing(),
    }
    newer = asked(one)
    assert previews.standings([one])[one.pk] == Standing(under_way=newer, judged=first)


def test_old_ones_go_but_the_latest_and_the_latest_good_one(worker, home):
    release = draft()
    oldest, good = previewed(release), previewed(release)
    bad = previewed(release, benign=0)
    Preview.objects.filter(pk=oldest.pk).update(images=oldest.images[:1])  # others' are shared
    age(oldest, days=60)
    age(good, bad, days=40)
    orphan = stored("f" * 64, Preview.SHELF)
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"x")
    os.utime(orphan, (0, 0))
    previews.forget_old()
    assert set(Preview.objects.values_list("pk", flat=True)) == {good.pk, bad.pk}
    assert not orphan.exists()
    assert all(stored(image["digest"], Preview.SHELF).is_file() for image in good.images)


def test_what_is_under_way_or_young_stays(worker, home):
    young, running = previewed(draft("young")), asked(draft("running"))
    age(running, days=90)
    assert previews.forget_old() == 0
    assert Preview.objects.filter(pk__in=(young.pk, running.pk)).count() == 2


def test_a_deleted_release_takes_its_previews_along(worker, home):
    preview = previewed(draft())
    loading.forget(preview.release)
    assert not Job.objects.exists()
    age(preview, days=2)
    previews.forget_old()
    assert not any(stored(image["digest"], Preview.SHELF).exists() for image in preview.images)
