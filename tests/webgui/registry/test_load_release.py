"""`manage.py load_release`: bundles from disk to a pool."""

from __future__ import annotations

import hashlib
import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.webgui.making import release_manifest, stock
from webgui.buffer.models import Avatar, Pool
from webgui.buffer.trouble import note_trouble
from webgui.registry.models import Release

pytestmark = pytest.mark.django_db


def make_bundle(folder: Path, **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    weights = b"weights of " + folder.name.encode()
    (folder / "gan.safetensors").write_bytes(weights)
    component = {
        "file": "gan.safetensors",
        "sha256": hashlib.sha256(weights).hexdigest(),
        "bytes": len(weights),
    }
    manifest = release_manifest(components=[component], **changes)
    (folder / "release.json").write_text(json.dumps(manifest))
    return folder


def load(folder: Path, *arguments: str) -> str:
    out = StringIO()
    call_command("load_release", str(folder), *arguments, stdout=out)
    return out.getvalue()


def test_a_bundle_becomes_a_draft(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "a")
    assert "loaded" in load(folder)
    release = Release.objects.get()
    digest = hashlib.sha256((folder / "release.json").read_bytes()).hexdigest()
    assert (release.digest, release.state, release.title) == (digest, "draft", "Toon heads")
    assert release.tags["pink hair"] == "hair colour"
    assert release.read_manifest().components[0].file == "gan.safetensors"


def test_loading_twice_changes_nothing(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "a")
    load(folder, "--pool", "toon", "--pool-name", "Toons", "--high", "40", "--low", "10")
    Pool.objects.update(high_watermark=50)  # an administrator's choice
    said = load(folder, "--pool", "toon")
    assert "known already" in said and "still" in said
    pool = Pool.objects.get()
    assert (pool.name, pool.high_watermark, pool.low_watermark) == ("Toons", 50, 10)
    assert pool.release == Release.objects.get()
    assert pool.release.state == Release.State.ACTIVE


def preview(folder: Path) -> None:
    """As a good preview of the loaded bundle leaves it."""
    digest = hashlib.sha256((folder / "release.json").read_bytes()).hexdigest()
    Release.objects.filter(digest=digest).update(state=Release.State.PREVIEWED)


def test_a_newer_bundle_takes_the_pool_over(tmp_path: Path) -> None:
    load(make_bundle(tmp_path / "a"), "--pool", "toon")
    pool = Pool.objects.get()
    old = pool.release
    stock(pool, 2)
    note_trouble(pool, "the old one was broken")
    load(make_bundle(tmp_path / "b"))
    preview(tmp_path / "b")
    assert "now" in load(tmp_path / "b", "--pool", "toon", "--activate")
    pool.refresh_from_db()
    old.refresh_from_db()
    assert pool.release != old and old.state == Release.State.RETIRED
    assert pool.release.state == Release.State.ACTIVE
    assert (pool.trouble, pool.pause) == ("", 0)
    assert Avatar.objects.filter(state=Avatar.State.AVAILABLE).count() == 2
    # And back again.
    load(tmp_path / "a", "--pool", "toon")
    pool.refresh_from_db()
    old.refresh_from_db()
    assert pool.release == old and old.state == Release.State.ACTIVE


def test_a_pool_that_has_a_release_takes_none_without_a_preview(tmp_path: Path) -> None:
    load(make_bundle(tmp_path / "a"), "--pool", "toon")
    with pytest.raises(CommandError, match=r"preview it .* activate_release toon") as refusal:
        load(make_bundle(tmp_path / "b"), "--pool", "toon", "--activate", "--high", "99")
    loaded = Release.objects.get(state=Release.State.DRAFT)
    assert loaded.digest[:12] in str(refusal.value)
    pool = Pool.objects.get()
    assert pool.release != loaded and pool.high_watermark != 99


def test_a_release_another_pool_uses_is_not_retired(tmp_path: Path) -> None:
    for slug in ("one", "two"):
        load(make_bundle(tmp_path / "a"), "--pool", slug)
    load(make_bundle(tmp_path / "b"))
    preview(tmp_path / "b")
    load(tmp_path / "b", "--pool", "one")
    assert set(Release.objects.values_list("state", flat=True)) == {"active"}


def test_activating_for_no_pool_means_nothing(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="--pool"):
        load(make_bundle(tmp_path / "a"), "--activate")
    assert not Release.objects.exists()


def spoil_nothing_there(folder: Path) -> None:
    (folder / "release.json").unlink()


def spoil_no_json(folder: Path) -> None:
    (folder / "release.json").write_text("{")


def spoil_other_format(folder: Path) -> None:
    make_bundle(folder, format=2)


def spoil_missing_component(folder: Path) -> None:
    (folder / "gan.safetensors").unlink()


def spoil_component_digest(folder: Path) -> None:
    path = folder / "gan.safetensors"
    path.write_bytes(path.read_bytes()[::-1])


def spoil_component_length(folder: Path) -> None:
    (folder / "gan.safetensors").write_bytes(b"")


def spoil_component_path(folder: Path) -> None:
    manifest = json.loads((folder / "release.json").read_text())
    manifest["components"][0]["file"] = "../../etc/passwd"
    (folder / "release.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (spoil_nothing_there, "Give the folder that holds release.json"),
        (spoil_no_json, "Build the bundle again"),
        (spoil_other_format, "format"),
        (spoil_missing_component, "missing"),
        (spoil_component_digest, "copy it again"),
        (spoil_component_length, "copy it again"),
        (spoil_component_path, "leaves the bundle"),
    ],
)
def test_a_bad_bundle_is_refused_in_words(tmp_path: Path, spoil: Any, expected: str) -> None:
    folder = make_bundle(tmp_path / "a")
    spoil(folder)
    with pytest.raises(CommandError, match=expected):
        load(folder, "--pool", "toon")
    assert not Release.objects.exists() and not Pool.objects.exists()


@pytest.mark.parametrize(
    "arguments",
    [["--pool", "no slug"], ["--pool", "toon", "--low", "9", "--high", "5"],
     ["--pool", "toon", "--batch-size", "0"]],
)  # fmt: skip
def test_an_impossible_pool_is_refused(tmp_path: Path, arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        load(make_bundle(tmp_path / "a"), *arguments)
    assert not Pool.objects.exists()


def test_the_bundle_lies_where_workers_fetch_it(tmp_path: Path, home: Path) -> None:
    folder = make_bundle(tmp_path / "toon")
    load(folder)
    release = Release.objects.get()
    there = {path.name: path.read_bytes() for path in (home / "sftp" / "checkpoints").iterdir()}
    assert there == {
        release.digest: (folder / "release.json").read_bytes(),
        release.manifest["components"][0]["sha256"]: (folder / "gan.safetensors").read_bytes(),
    }
    (home / "sftp" / "checkpoints" / release.digest).unlink()
    load(folder)  # what went missing comes back
    assert (home / "sftp" / "checkpoints" / release.digest).exists()


def test_a_bundle_that_cannot_be_stored_is_not_loaded(tmp_path: Path, home: Path) -> None:
    (home / "sftp").mkdir()
    (home / "sftp" / "checkpoints").write_text("in the way")
    with pytest.raises(CommandError, match="cannot be stored"):
        load(make_bundle(tmp_path / "toon"))
    assert not Release.objects.exists()


def test_a_release_deleted_in_the_admin_site_goes_with_its_files(
    tmp_path: Path, home: Path, admin_client: Any
) -> None:
    first, second = make_bundle(tmp_path / "one"), make_bundle(tmp_path / "two")
    (second / "gan.safetensors").write_bytes((first / "gan.safetensors").read_bytes())
    shared = json.loads((first / "release.json").read_text())
    (second / "release.json").write_text(json.dumps(shared | {"title": "Another"}))
    for folder in (first, second):
        load(folder)
    checkpoints = home / "sftp" / "checkpoints"
    for left in (2, 0):  # the shared weights stay with the other
        row = Release.objects.first()
        assert row is not None
        admin_client.post(f"/admin/registry/release/{row.pk}/delete/", {"post": "yes"})
        assert len(list(checkpoints.iterdir())) == left
