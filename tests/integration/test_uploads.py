"""tuspy, a client people use, against the running web server: cuts, kills, two at once, memory."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from tusclient.client import TusClient
from tusclient.exceptions import TusUploadFailed

from tests.integration.upload_server import ROOT, UploadServer, running, sampled
from tests.wire import Wire

MIB = 2**20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UploadServer]:
    with running(tmp_path_factory.mktemp("home"), UPLOAD_SILENCE_SECONDS="2") as server:
        yield server


def client(server: UploadServer, port: int = 0) -> TusClient:
    url = f"http://127.0.0.1:{port or server.port}/api/v1/admin/uploads/"
    return TusClient(url, headers={"Authorization": f"Bearer {server.token}"})


def report(server: UploadServer, answer: Any) -> dict[str, Any]:
    url = f"http://127.0.0.1:{server.port}{answer.response_headers['checkpoint']}"
    response = requests.get(url, headers={"Authorization": f"Bearer {server.token}"}, timeout=30)
    assert response.status_code == 200
    return response.json()


def make_file(path: Path, mib: int, seed: int) -> str:
    """A file of no pattern; its SHA-256."""
    whole = hashlib.sha256()
    generator = random.Random(seed)
    with path.open("wb") as file:
        for _ in range(mib):
            block = generator.randbytes(MIB)
            file.write(block)
            whole.update(block)
    return whole.hexdigest()


def stored(server: UploadServer, checkpoint: dict[str, Any]) -> str:
    with (server.home / "uploads" / checkpoint["id"]).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_200_mib_through_five_cuts(server: UploadServer, tmp_path: Path) -> None:
    """Twice with the server killed as well, once with it left waiting on a dead connection."""
    sha256 = make_file(tmp_path / "big.safetensors", 200, seed=1)
    wire = Wire(server.port)
    cuts: list[Callable[[], Any]] = [
        wire.cut,
        lambda: (server.kill(), wire.cut(), server.start()),
        lambda: wire.cut(silently=True),
        lambda: (server.kill(), wire.cut(), server.start()),
        wire.cut,
    ]
    done: list[int] = []

    def cutting() -> None:
        for number, cut in enumerate(cuts, 1):
            while wire.carried < number * 33 * MIB:
                time.sleep(0.005)
            cut()
            done.append(wire.carried)

    threading.Thread(target=cutting, daemon=True).start()
    uploader = client(server, wire.port).uploader(
        str(tmp_path / "big.safetensors"),
        chunk_size=80 * MIB,
        retries=100,
        retry_delay=0.2,
        metadata={"filename": "big.safetensors"},
    )
    uploader.upload()
    wire.close()
    assert len(done) == 5
    # Little was sent twice: what arrived before a cut was kept.
    assert wire.carried < 200 * MIB + 5 * 12 * MIB
    checkpoint = report(server, uploader.request)
    assert checkpoint["sha256"] == sha256 == stored(server, checkpoint)


def test_two_at_once_in_little_memory(server: UploadServer, tmp_path: Path) -> None:
    digests = {f"{name}.pt": make_file(tmp_path / f"{name}.pt", 96, ord(name)) for name in "ab"}
    requests.get(f"http://127.0.0.1:{server.port}/healthz", timeout=30)
    idle = server.memory()
    stop, seen = sampled(server.memory)
    found: dict[str, dict[str, Any]] = {}

    def send(name: str, **options: Any) -> None:
        uploader = client(server).uploader(
            str(tmp_path / name), metadata={"filename": name}, **options
        )
        uploader.upload()
        found[name] = report(server, uploader.request)

    threads = [
        threading.Thread(target=send, args=("a.pt",)),  # one request
        threading.Thread(
            target=send, args=("b.pt",), kwargs={"chunk_size": 8 * MIB, "upload_checksum": True}
        ),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    assert {name: row["sha256"] for name, row in found.items()} == digests
    assert {name: stored(server, row) for name, row in found.items()} == digests
    assert max(seen) - idle < 64 * MIB


def test_a_known_file_is_not_sent_again(server: UploadServer, tmp_path: Path) -> None:
    sha256 = make_file(tmp_path / "hat.pt", 2, seed=3)
    first = client(server).uploader(str(tmp_path / "hat.pt"))
    first.upload()
    wire = Wire(server.port)
    again = client(server, wire.port).uploader(
        str(tmp_path / "hat.pt"), metadata={"sha256": sha256}, retries=1, retry_delay=0
    )
    url = again.create_url()
    again.set_url(url)
    assert again.get_offset() == 2 * MIB
    wire.close()
    assert wire.carried < 10_000


def test_refusals_reach_the_client(server: UploadServer, tmp_path: Path) -> None:
    make_file(tmp_path / "hat.pt", 1, seed=4)
    uploader = client(server).uploader(str(tmp_path / "hat.pt"))
    uploader.upload()
    uploader.offset = 0
    with pytest.raises(TusUploadFailed) as refusal:
        uploader.upload_chunk()
    assert refusal.value.status_code == 409
    assert b"wrong_offset" in refusal.value.response_content


def test_the_documented_script(server: UploadServer, tmp_path: Path) -> None:
    """As a reader would run it; the server's worker, here ourselves, inspects meanwhile."""
    page = (ROOT / "docs" / "checkpoints-upload.md").read_text()
    script = page.partition("```python\n")[2].partition("```")[0]
    (tmp_path / "script.py").write_text(script)
    sha256 = make_file(tmp_path / "hat.pt", 20, seed=5)
    command = [sys.executable, tmp_path / "script.py", f"http://127.0.0.1:{server.port}"]
    process = subprocess.Popen(
        [*command, tmp_path / "hat.pt"],
        env={**os.environ, "TOKEN": server.token},
        stdout=subprocess.PIPE,
        text=True,
    )
    inspect = "from webgui.registry import models as m, inspection as i\n"
    inspect += f"for row in m.Checkpoint.objects.filter(sha256={sha256!r}): i.inspect(row.pk)"
    while process.poll() is None:
        server.manage("shell", "--no-imports", "-c", inspect)
    assert process.stdout is not None
    assert process.stdout.read().startswith("unsupported  This is a file of an unknown kind")
