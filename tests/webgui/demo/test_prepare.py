from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from tests.webgui.making import release_manifest
from webgui.accounts import audit
from webgui.buffer.activation import roll_back
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


def bundle(folder: Path, title: str) -> Path:
    folder.mkdir()
    manifest = release_manifest("demo", components=[], title=title)
    (folder / "release.json").write_text(json.dumps(manifest))
    return folder


def start(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Pool:
    monkeypatch.setenv("STYLEDIFFUSER_DEMO_RELEASE", str(folder))
    prepare.load_release()
    return Pool.objects.select_related("release").get(slug=prepare.POOL)


def test_a_newer_shipped_release_takes_over_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: object
) -> None:
    """Without a preview, which nobody could make before the first start is through."""
    first = start(monkeypatch, bundle(tmp_path / "1", "First"))
    Pool.objects.update(name="Renamed", high_watermark=99)
    second = start(monkeypatch, bundle(tmp_path / "2", "Second"))
    assert (first.release.title, second.release.title) == ("First", "Second")
    assert (second.name, second.high_watermark, second.version) == ("Renamed", 99, 1)
    again = start(monkeypatch, tmp_path / "2")
    assert again.version == 1
    assert [entry.actor for entry in audit.of(again)] == ["make demo", "make demo"]


def test_a_start_does_not_undo_a_rollback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: object
) -> None:
    start(monkeypatch, bundle(tmp_path / "1", "First"))
    roll_back(start(monkeypatch, bundle(tmp_path / "2", "Second")), "admin")
    assert start(monkeypatch, tmp_path / "2").release.title == "First"
    assert start(monkeypatch, bundle(tmp_path / "3", "Third")).release.title == "Third"


def test_a_pool_with_another_release_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: Pool
) -> None:
    manifest = release_manifest("another", components=[], title="Another")
    (tmp_path / "release.json").write_text(json.dumps(manifest))
    monkeypatch.setenv("STYLEDIFFUSER_DEMO_RELEASE", str(tmp_path))
    assert prepare.load_release() == own.release.title
    assert Release.objects.count() == 1
