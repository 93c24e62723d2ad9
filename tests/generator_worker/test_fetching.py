"""Fetching releases from a real SFTP server into the worker's cache."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import paramiko
import pytest

from generator_worker.engine import Engine
from generator_worker.fetching import Cache, FetchError, note_use
from generator_worker.refusals import NotFetched, UnknownRelease

WEIGHTS = bytes(range(256)) * 2000  # 500 KiB


def serve(checkpoints: Path, name: str, files: dict[str, bytes]) -> str:
    """Put a release where the server keeps it; its digest."""
    checkpoints.mkdir(parents=True, exist_ok=True)
    components = []
    for file, data in files.items():
        digest = sha256(data).hexdigest()
        (checkpoints / digest).write_bytes(data)
        components.append({"file": file, "sha256": digest, "bytes": len(data)})
    manifest = {
        "format": 1,
        "name": name,
        "title": name,
        "tags": {},
        "params": {},
        "components": components,
        "licences": [],
    }
    data = json.dumps(manifest).encode()
    (checkpoints / sha256(data).hexdigest()).write_bytes(data)
    return sha256(data).hexdigest()


@pytest.fixture
def checkpoints(sftp):
    return sftp.root / "checkpoints"


def fetch(config, digest):
    return Cache(config).fetch(digest)


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr("generator_worker.fetching.PAUSES", (0.01, 0.01))


def visible(config):
    return sorted(path.name for path in config.release_cache.glob("[!.]*"))


def test_a_release_comes_whole(connected, checkpoints):
    files = {"gan/model.safetensors": WEIGHTS, "config.json": b"{}", "empty.txt": b""}
    digest = serve(checkpoints, "toon", files)
    folder = fetch(connected, digest)
    assert folder == connected.release_cache / digest
    found = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert sha256(found.pop("release.json")).hexdigest() == digest
    assert found == files
    assert fetch(replace(connected, sftp_port=1), digest) == folder  # the server is not asked


def test_it_goes_on_where_it_stopped(connected, checkpoints):
    digest = serve(checkpoints, "toon", {"model.safetensors": WEIGHTS})
    draft = connected.release_cache / f".{digest}"
    draft.mkdir(parents=True)
    (draft / "model.safetensors").write_bytes(WEIGHTS[:300_000])
    # Had it begun anew, it would have got these zeros.
    (checkpoints / sha256(WEIGHTS).hexdigest()).write_bytes(bytes(300_000) + WEIGHTS[300_000:])
    assert (fetch(connected, digest) / "model.safetensors").read_bytes() == WEIGHTS


def test_a_damaged_file_is_never_used_and_the_next_try_heals(connected, checkpoints):
    digest = serve(checkpoints, "toon", {"model.safetensors": WEIGHTS, "config.json": b"{}"})
    there = checkpoints / sha256(WEIGHTS).hexdigest()
    there.write_bytes(WEIGHTS[:-1] + b"?")
    with pytest.raises(FetchError, match="came damaged"):
        fetch(connected, digest)
    assert visible(connected) == []
    there.write_bytes(WEIGHTS[:-1])
    with pytest.raises(FetchError, match="has 511999 bytes at the server"):
        fetch(connected, digest)
    there.write_bytes(WEIGHTS)
    fetch(connected, digest)
    assert visible(connected) == [digest]


def test_what_another_release_has_is_not_fetched_again(connected, checkpoints):
    first = serve(checkpoints, "one", {"base.safetensors": WEIGHTS})
    folder = fetch(connected, first)
    second = serve(checkpoints, "two", {"base.safetensors": WEIGHTS, "lora.safetensors": b"l"})
    (checkpoints / sha256(WEIGHTS).hexdigest()).unlink()
    other = fetch(connected, second)
    assert (other / "base.safetensors").samefile(folder / "base.safetensors")


def test_one_the_server_does_not_have(connected, checkpoints):
    with pytest.raises(FetchError, match="load_release"):
        fetch(connected, "0" * 64)


def test_another_file_under_its_digest(connected, checkpoints):
    checkpoints.mkdir(parents=True, exist_ok=True)
    (checkpoints / ("0" * 64)).write_bytes(b"{}")
    with pytest.raises(FetchError, match="another file"):
        fetch(connected, "0" * 64)


@pytest.mark.parametrize("name", ["../escaped", "/escaped", "release.json"])
def test_names_that_leave_the_folder(connected, checkpoints, name):
    digest = serve(checkpoints, "toon", {name: b"x"})
    with pytest.raises(FetchError, match="leaves its folder"):
        fetch(connected, digest)
    assert not (connected.release_cache / "escaped").exists()


def test_a_server_that_is_away(config):
    lonely = replace(config, sftp_port=1, sftp_host_key="nothing")
    with pytest.raises(FetchError):
        fetch(lonely, "0" * 64)


def test_the_least_recently_used_goes_first(connected, checkpoints):
    small = replace(connected, release_cache_mib=1)  # room for two of them
    one, two, three = (
        serve(checkpoints, name, {"model.safetensors": name.encode() + WEIGHTS[:450_000]})
        for name in ("one", "two", "three")
    )
    for age, digest in ((200, one), (100, two)):
        folder = fetch(small, digest)
        os.utime(folder, (folder.stat().st_mtime - age,) * 2)
    note_use(small.release_cache / one)
    fetch(small, three)
    assert visible(small) == sorted([one, three])


def test_one_larger_than_the_cache(connected, checkpoints):
    digest = serve(checkpoints, "big", {"model.safetensors": WEIGHTS * 3})
    with pytest.raises(FetchError, match="STYLEDIFFUSER_RELEASE_CACHE_MIB"):
        fetch(replace(connected, release_cache_mib=1), digest)


def test_the_engine_fetches_what_it_lacks(connected, checkpoints):
    digest = serve(checkpoints, "toon", {"config.json": b"{}"})
    engine = Engine([connected.release_cache], source=Cache(connected))
    assert engine.find(digest) == connected.release_cache / digest
    with pytest.raises(UnknownRelease, match="could not be fetched: the server does not have it"):
        engine.find("0" * 64)
    away = Engine([], source=Cache(replace(connected, sftp_port=1)))
    with pytest.raises(NotFetched, match="refuses connections"):
        away.find("0" * 64)


def test_a_link_that_is_cut_again_and_again_is_gone_on_with(connected, checkpoints, monkeypatch):
    """The server's answers end after 100 KiB a connection: more cuts than pauses."""
    digest = serve(checkpoints, "toon", {"model.safetensors": WEIGHTS, "config.json": b"{}"})
    came, notes, read = [], [], paramiko.SFTPFile.read
    monkeypatch.setattr("generator_worker.fetching.PIECE", 50_000)

    def cut(file, size=None):
        if size != 50_000 or came.count(50_000) % 3 < 2:
            came.append(size)
            return read(file, size)
        came.append(0)
        came.append(50_000)
        raise EOFError

    monkeypatch.setattr(paramiko.SFTPFile, "read", cut)
    counted = []
    folder = Cache(connected, counted.append).fetch(digest, notes.append)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert came.count(0) > 3  # cuts
    assert sum(counted) == len(WEIGHTS) + 2
    assert len(counted) == came.count(0) + 1
    assert notes[-1] == "fetching 0 of 1 MiB"


def test_progress_counts_what_is_here_already(connected, checkpoints):
    weights = bytes(3 * 2**20)
    digest = serve(checkpoints, "toon", {"model.safetensors": weights})
    draft = connected.release_cache / f".{digest}"
    draft.mkdir(parents=True)
    (draft / "model.safetensors").write_bytes(weights[: 2**20])
    counted, notes = [], []
    Cache(connected, counted.append).fetch(digest, notes.append)
    assert notes == [f"fetching {done} of 3 MiB" for done in (1, 2, 3)]
    assert counted == [2 * 2**20]
