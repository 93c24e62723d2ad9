"""Bringing a release bundle from disk into the registry. Never imports torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.utils import timezone
from pydantic import ValidationError

from generator_worker.contract import ReleaseManifest

from . import storage
from .models import Release
from .problems import NoSuchRelease

RELEASE_FILE = "release.json"
MAX_RELEASE_FILE = 4 * 1024 * 1024


class BadBundle(ValueError):
    """The folder is no usable release bundle; the message says why and what to do."""


def read_bundle(folder: Path) -> tuple[str, ReleaseManifest]:
    """The digest and manifest of a bundle whose component files are all there and whole."""
    path = folder / RELEASE_FILE
    try:
        if path.stat().st_size > MAX_RELEASE_FILE:
            raise BadBundle(f"{path} is larger than {MAX_RELEASE_FILE} bytes: not a release file.")
        data = path.read_bytes()
    except OSError as error:
        raise BadBundle(
            f"{path}: {error.strerror}. Give the folder that holds {RELEASE_FILE}."
        ) from error
    manifest = _manifest(data, path)
    for component in manifest.components:
        _check_component(folder, component.file, component.bytes, component.sha256)
    return hashlib.sha256(data).hexdigest(), manifest


def _manifest(data: bytes, path: Path) -> ReleaseManifest:
    try:
        return ReleaseManifest.model_validate_json(data)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in fault["loc"]) or "file"
        raise BadBundle(f"{path}: {where}: {fault['msg']}. Build the bundle again.") from error


def _check_component(folder: Path, name: str, size: int, sha256: str) -> None:
    path = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise BadBundle(f"{RELEASE_FILE} names {name!r}, which leaves the bundle.")
    if not path.is_file():
        raise BadBundle(f"{path} is missing: copy the whole bundle.")
    if path.stat().st_size != size:
        raise BadBundle(f"{path} is not {size} bytes long: copy it again.")
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise BadBundle(f"{path} does not have the digest {RELEASE_FILE} gives: copy it again.")


def load_bundle(folder: Path) -> tuple[Release, bool]:
    """The release row of this bundle and whether it is new. Loading twice changes nothing.

    Its files are put where workers fetch them from, release.json last: who finds that finds all.
    """
    digest, manifest = read_bundle(folder)
    try:
        for component in manifest.components:
            storage.keep(folder / component.file, component.sha256)
        storage.keep(folder / RELEASE_FILE, digest)
    except OSError as error:
        raise BadBundle(f"{folder} cannot be stored: {error.strerror}.") from error
    except ValueError as error:
        raise BadBundle(f"{error}: load it again.") from error
    return _row(digest, manifest)


def register(files: Iterable[dict[str, Any]]) -> Release:
    """The release of a bundle that was uploaded; its files are in their places already."""
    for entry in files:
        if entry["file"] == RELEASE_FILE:
            path = storage.place(entry["sha256"])
            return _row(entry["sha256"], _manifest(path.read_bytes(), Path(RELEASE_FILE)))[0]
    raise BadBundle(f"The bundle has no {RELEASE_FILE}.")


def publish(content: bytes, others: Iterable[bytes]) -> tuple[Release, bool]:
    """The release of a `release.json` made here, whose weights lie in the store, and whether it is
    new. `others` are the small files that were made with it."""
    manifest = _manifest(content, Path(RELEASE_FILE))
    for other in others:
        storage.keep_content(other)
    return _row(storage.keep_content(content), manifest)


def forget(release: Release) -> None:
    """Delete a release that no pool uses, with the files that nothing else has."""
    files = [*release.manifest.get("components", ()), {"sha256": release.digest}]
    release.delete()
    storage.release(files)


def _row(digest: str, manifest: ReleaseManifest) -> tuple[Release, bool]:
    return Release.objects.get_or_create(
        digest=digest,
        defaults={
            "name": manifest.name,
            "title": manifest.title,
            "manifest": manifest.model_dump(mode="json"),
        },
    )


def lock(*releases: Release) -> None:
    """Whoever changes which pools use a release holds its row, or one pool could take up what
    another's leaving just retired. One that was deleted meanwhile is `NoSuchRelease`."""
    keys = [release.pk for release in releases]
    rows = Release.objects.select_for_update(no_key=True).filter(pk__in=keys).order_by("pk")
    held = {row.pk for row in rows}
    for release in releases:
        if release.pk not in held:
            raise NoSuchRelease(f"{release} was deleted meanwhile. Nothing was changed.")


def activate(release: Release) -> None:
    """A pool generates with it, or tries it, from now on."""
    Release.objects.filter(pk=release.pk).exclude(state=Release.State.ACTIVE).update(
        state=Release.State.ACTIVE, activated_at=timezone.now()
    )
    release.refresh_from_db()


def retire_if_unused(release: Release) -> bool:
    """Retire an active release that no pool generates with or tries any more."""
    unused = Release.objects.filter(
        pk=release.pk, state=Release.State.ACTIVE, pools=None, canary_of=None
    )
    return bool(unused.update(state=Release.State.RETIRED))


def note_good_preview(release: Release) -> bool:
    """A draft that was previewed well may be given to pools. True where it was a draft."""
    draft = Release.objects.filter(pk=release.pk, state=Release.State.DRAFT)
    return bool(draft.update(state=Release.State.PREVIEWED))
