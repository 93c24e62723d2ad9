"""Previews on the pages about releases: asked for, watched, called off, compared."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from tests.webgui.studio.making import REPORT, asked, deliver, draft, progress
from webgui.accounts.models import AuditEntry
from webgui.registry.models import Release
from webgui.studio import deliveries, jobs
from webgui.studio.models import Job, Preview

SHELF = "/manage/releases/"


@pytest.fixture
def keeper(home: object, db: None) -> Client:
    client = Client()
    client.force_login(get_user_model().objects.create_user("keeper", is_staff=True))
    return client


@pytest.fixture
def release(db: None) -> Release:
    return draft()


def page(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200
    return re.sub(r"\s+", " ", response.content.decode())


def judged(release: Release, **report: Any) -> Preview:
    preview = asked(release)
    deliver(preview.job, report=REPORT | report)
    deliveries.take_in(preview.pk)
    return Preview.objects.get(pk=preview.pk)


def test_a_draft_is_previewed_by_a_button(keeper, release, worker):
    own = f"{SHELF}{release.digest}/"
    assert "Not previewed yet" in page(keeper, own)
    response = keeper.post(f"{own}preview/")
    assert (response.status_code, response["Location"]) == (302, f"{own}#preview")
    shown = page(keeper, own)
    assert "Preview under way" in shown
    assert "w1 finishes what it is at first." in shown
    assert AuditEntry.objects.latest("pk").actor == "keeper"
    keeper.post(f"{own}preview/")
    assert Job.objects.count() == 1


def test_the_bar_shows_how_far_it_is_and_a_button_calls_it_off(keeper, release, worker):
    job = asked(release).job
    jobs.record(progress(job, step=4, note="drawing the grid"))
    for path in (SHELF, f"{SHELF}{release.digest}/"):
        shown = page(keeper, path)
        assert '<progress max="100" value="25"' in shown
        assert "drawing the grid" in shown
        assert f'data-preview="/api/v1/admin/previews/{job.pk}/" data-state="running"' in shown
    response = keeper.post(f"/manage/previews/{job.pk}/cancel/")
    assert response["Location"] == f"{SHELF}{release.digest}/#preview"
    assert Job.objects.get().state == Job.State.CANCELLED
    assert "Not previewed yet" in page(keeper, SHELF)
    assert keeper.post(f"/manage/previews/{job.pk}/cancel/").status_code == 302  # it stays so


def test_a_good_preview_shows_grid_figures_and_what_comes_next(keeper, release, worker):
    preview = judged(release)
    shown = page(keeper, f"{SHELF}{release.digest}/")
    assert "Good preview" in shown
    assert "it may be given to pools" in shown
    assert shown.count("<li><a href=") == 16
    assert f'src="/api/v1/admin/previews/{preview.pk}/images/1?size=128"' in shown
    assert 'alt="Seed 1; score 0.90"' in shown
    assert "16 of 16 (score 0.7 or more)" in shown
    assert "Preview again" in shown


def test_grids_lie_side_by_side(keeper, worker):
    for name in ("one", "other"):
        judged(draft(name))
    shown = page(keeper, SHELF)
    assert shown.count('class="grid"') == 2
    assert shown.count("16 of 16 benign, 0.50 s an image") == 2
    seeds = re.findall(r"/images/(\d+)\?", shown)
    assert seeds[:16] == seeds[16:] == [str(seed) for seed in range(1, 17)]


def test_a_bad_preview_says_what_to_do_and_marks_poor_pictures(keeper, release, worker):
    judged(release, min_score=0.95, benign=0)
    shown = page(keeper, f"{SHELF}{release.digest}/")
    assert "Bad preview" in shown
    assert "The critic calls none of 16 images benign (a score of 0.95 or more)." in shown
    assert "take another or allow a lower score" in shown
    assert shown.count('<li class="faulty">') == 16
    assert "Bad preview" in page(keeper, SHELF)


def test_a_new_preview_leaves_the_old_grid_in_sight(keeper, release, worker):
    judged(release)
    asked(release)
    shown = page(keeper, f"{SHELF}{release.digest}/")
    assert "New preview under way" in shown
    assert shown.count("<li><a href=") == 16


def test_what_a_failed_attempt_said_is_shown_while_another_runs(keeper, release, worker):
    job = asked(release).job
    jobs._next_attempt(job, "w1: CUDA out of memory")
    jobs.reconcile()
    shown = page(keeper, f"{SHELF}{release.digest}/")
    assert "Attempt 2 of 3. The one before: w1: CUDA out of memory" in shown


def test_only_administrators_and_only_by_post(client, keeper, release, worker):
    own, cancel = f"{SHELF}{release.digest}/preview/", f"/manage/previews/{uuid4()}/cancel/"
    for path in (own, cancel):
        assert keeper.get(path).status_code == 405
        assert client.post(path)["Location"].startswith("/admin/login/")
    assert keeper.post(cancel).status_code == 404
    assert keeper.post(f"{SHELF}{'f' * 64}/preview/").status_code == 404
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = keeper.cookies
    assert strict.post(own).status_code == 403
    assert not Job.objects.exists()
