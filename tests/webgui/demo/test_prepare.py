from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from tests.webgui.making import release_manifest
from webgui.buffer.models import Pool
from webgui.demo import prepare
from webgui.registry.models import Release

pytestmark = pytest.mark.django_db


@pytest.fixture
def own(pool: Pool) -> Pool:
    """The demo's pool as an earlier start has left it."""
    Pool.objects.filter(pk=pool.pk).update(slug=prepare.POOL)
    pool.refresh_from_db()
    return pool


@pytest.mark.parametrize("content", [None, "{", '{"name": 1}'])
@pytest.mark.parametrize("start", ["first", "later"])
def test_an_unusable_release_is_said_at_any_start_and_changes_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    content: str | None,
    start: str,
) -> None:
    before = request.getfixturevalue("own").release if start == "later" else None
    if content:
        (tmp_path / "release.json").write_text(content)
    monkeypatch.setenv("STYLEDIFFUSER_DEMO_RELEASE", str(tmp_path))
    with pytest.raises(ImproperlyConfigured, match="STYLEDIFFUSER_DEMO_RELEASE") as refusal:
        prepare.load_release()
    assert str(tmp_path / "release.json") in str(refusal.value)
    assert [pool.release for pool in Pool.objects.all()] == ([before] if before else [])


def test_a_pool_with_another_release_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: Pool
) -> None:
    manifest = release_manifest("another", components=[], title="Another")
    (tmp_path / "release.json").write_text(json.dumps(manifest))
    monkeypatch.setenv("STYLEDIFFUSER_DEMO_RELEASE", str(tmp_path))
    assert prepare.load_release() == own.release.title
    assert Release.objects.count() == 1
