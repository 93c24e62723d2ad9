"""From the last byte to the verdict, with the real `models_core` in its own process."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.test import Client
from django.utils import timezone

from generator_worker.contract import INGEST_QUEUE
from tests.webgui.api.admin.uploading import Tus
from tests.webgui.api.asking import problem_of
from tests.webgui.making import make_release
from webgui.registry import inspection, storage, tasks
from webgui.registry.inspector import Outcome, finished
from webgui.registry.models import Checkpoint

JUNK = b"hello world, " * 100


@pytest.fixture
def tus(client: Client, bearer: dict[str, str]) -> Tus:
    return Tus(client, bearer)


@pytest.fixture(scope="module")
def snapshot() -> bytes:
    """A tiny StyleGAN2 as NVIDIA's trainer pickles one, with source that nobody may run."""
    from models_core.stylegan2 import Discriminator, Generator
    from tests.models_core.formats import foreign

    small = {"channel_base": 128, "channel_max": 16}
    mapping = {"num_layers": 2, "lr_multiplier": 0.01}
    generator = Generator(8, 0, 8, 16, mapping_kwargs=mapping, synthesis_kwargs=small)
    return foreign.snapshot(generator, Discriminator(0, 16, **small), "/nowhere")


class Calls:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.canary}",)


def inspected(tus: Tus, data: bytes, **metadata: str) -> dict[str, Any]:
    url = tus.whole(data, **metadata)
    tasks.inspect(message={"checkpoint_id": url.rstrip("/").rpartition("/")[2]})
    return tus.report(url)


def test_a_stylegan2_pickle_all_the_way(tus: Tus, snapshot: bytes) -> None:
    """Said to be a LoRA, found out, said right, converted, used by a release, deleted."""
    url = tus.whole(snapshot, filename="network-snapshot.pkl")
    Checkpoint.objects.update(kind_wanted="lora")
    inspection.inspect(Checkpoint.objects.get().pk)
    report = tus.report(url)
    assert report["state"] == "incompatible" and "lora" in report["reason"]
    body = json.dumps({"kind": "stylegan2"})
    answer = tus.client.post(
        f"{url}inspect/", body, content_type="application/json", headers=tus.headers
    )
    assert answer.status_code == 202
    inspection.inspect(Checkpoint.objects.get().pk)
    report = tus.report(url)
    assert (report["state"], report["reason"]) == ("ready", ""), report
    assert report["kind"] == "stylegan2" and report["settled_at"]
    assert report["report"]["inspection"] == 1
    assert {"config.json", "model.safetensors"} <= {file["file"] for file in report["files"]}
    for file in report["files"]:
        data = storage.place(file["sha256"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == file["sha256"] and len(data) == file["bytes"]
        assert not data.startswith(b"\x80")  # no pickle
    checkpoint = Checkpoint.objects.get()
    assert not checkpoint.original.exists()  # its converted form has taken its place
    assert checkpoint.stored_bytes == sum(file["bytes"] for file in report["files"])
    _used_then_deleted(tus, url, report["files"])


def _used_then_deleted(tus: Tus, url: str, files: list[dict[str, Any]]) -> None:
    release = make_release()
    release.manifest["components"] = files
    release.save()
    assert tus.report(url)["used_by"] == [release.digest]
    refusal = tus.client.delete(url, headers=tus.headers)
    assert release.title in problem_of(refusal, 409, "wrong_state")["detail"]
    release.delete()
    assert tus.client.delete(url, headers=tus.headers).status_code == 204
    assert not list(storage.root().iterdir())
    problem_of(tus.client.get(url, headers=tus.headers), 404, "not_found")


def test_a_pickle_that_calls_something(tus: Tus, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    report = inspected(tus, pickle.dumps({"G_ema": Calls(canary)}), filename="evil.pkl")
    assert report["state"] == "unsafe" and "posix.system" in report["reason"]
    assert report["files"] == [] and report["kind"] == ""
    assert not canary.exists()
    assert not Checkpoint.objects.get().original.exists()


def test_truncated(tus: Tus, snapshot: bytes) -> None:
    report = inspected(tus, snapshot[: len(snapshot) // 2])
    assert report["state"] == "corrupt" and report["reason"].endswith(".")
    assert Checkpoint.objects.get().original.exists()


def test_an_empty_file(tus: Tus) -> None:
    url = tus.begin(0)["Checkpoint"]
    inspection.inspect(Checkpoint.objects.get().pk)
    assert tus.report(url)["state"] == "corrupt"


def test_unsupported_says_what_would_be_accepted_and_may_be_looked_at_again(
    tus: Tus, sent: list
) -> None:
    report = inspected(tus, JUNK, filename="hat.safetensors")
    assert report["state"] == "unsupported" and "unknown kind" in report["reason"]
    assert any("StyleGAN2" in kind for kind in report["report"]["accepted"])
    sent.clear()
    url = f"/api/v1/admin/checkpoints/{report['id']}/inspect/"
    answer = tus.client.post(url, "{}", content_type="application/json", headers=tus.headers)
    assert answer.status_code == 202 and answer.json()["state"] == "inspecting"
    assert [name for name, *_ in sent] == ["registry.inspect"]
    again = tus.client.post(url, "{}", content_type="application/json", headers=tus.headers)
    problem_of(again, 409, "wrong_state")
    assert inspection.inspect(Checkpoint.objects.get().pk) == "unsupported"


def test_one_at_a_time_and_then_the_next(tus: Tus, monkeypatch, sent: list) -> None:
    first, second = (tus.whole(JUNK + bytes([number])) for number in range(2))
    one, two = Checkpoint.objects.order_by("created_at")
    ask = inspection._ask

    def asked(checkpoint: Checkpoint, scratch: Path) -> dict[str, Any]:
        assert inspection.inspect(two.pk) is None  # the other waits
        assert inspection.inspect(one.pk) is None  # nobody else takes this one
        sent.clear()
        return ask(checkpoint, scratch)

    with monkeypatch.context() as patch:
        patch.setattr(inspection, "_ask", asked)
        assert inspection.inspect(one.pk) == "unsupported"
    assert sent == [("registry.inspect", {"checkpoint_id": str(two.pk)}, INGEST_QUEUE)]
    assert inspection.inspect(two.pk) == "unsupported"
    assert inspection.inspect(two.pk) is None  # a bell rung twice
    assert tus.report(first)["state"] == tus.report(second)["state"] == "unsupported"


def test_an_inspector_that_was_killed_is_followed_by_another(tus: Tus, sent: list) -> None:
    url = tus.whole(JUNK)
    late = timezone.now() - timedelta(seconds=1)
    Checkpoint.objects.update(attempts=1, inspect_deadline=late)
    sent.clear()
    tasks.look_for_waiting()
    assert len(sent) == 1
    assert inspection.inspect(Checkpoint.objects.get().pk) == "unsupported"
    assert tus.report(url)["state"] == "unsupported"


def test_one_that_always_dies_is_given_up_with_a_reason(tus: Tus) -> None:
    url = tus.whole(JUNK)
    Checkpoint.objects.update(attempts=3, inspect_deadline=timezone.now() - timedelta(seconds=1))
    assert inspection.inspect(Checkpoint.objects.get().pk) == "unsupported"
    report = tus.report(url)
    assert "could not be inspected" in report["reason"] and "cut short" in report["reason"]
    assert Checkpoint.objects.get().original.exists()  # "Inspect again" may yet work


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Outcome(None, "", ""), "not done within 60 s"),
        (Outcome(-9, "", ""), "exit code -9"),
        (Outcome(1, "", "Traceback…\nModuleNotFoundError: No module named 'torch'"), "torch"),
        (Outcome(0, '{"inspection": 99, "state": "ready"}', ""), "another version"),
        (Outcome(0, "[]", ""), "no word"),
    ],
)
def test_a_failing_inspection_is_tried_three_times(
    tus: Tus, monkeypatch, outcome: Outcome, words: str
) -> None:
    url = tus.whole(JUNK)
    monkeypatch.setattr(inspection, "run", lambda *arguments: outcome)
    for _ in range(2):
        assert inspection.inspect(Checkpoint.objects.get().pk) is None
        report = tus.report(url)
        assert report["state"] == "inspecting" and words in report["reason"]
    assert inspection.inspect(Checkpoint.objects.get().pk) == "unsupported"
    assert words in tus.report(url)["reason"]


def test_unreadable_messages_are_dropped(db: None) -> None:
    for message in (None, {}, {"checkpoint_id": 1}, {"checkpoint_id": "x"}):
        tasks.inspect(message=message)


def test_what_two_checkpoints_share_goes_with_the_last(db: None, tmp_path: Path) -> None:
    rows = []
    for _ in range(2):
        (tmp_path / "config.json").write_text("{}")
        file = {"file": "config.json", **storage.store(tmp_path / "config.json")}
        rows.append(Checkpoint.objects.create(name="x", size=2, state="ready", files=[file]))
    for row, there in zip(rows, (True, False), strict=True):
        row.delete()
        storage.release(row.files)
        assert storage.place(file["sha256"]).exists() is there


def python(code: str, scratch: Path, seconds: int = 20) -> Outcome:
    return finished([sys.executable, "-c", code], scratch, seconds)


def test_the_inspector_is_told_no_secrets(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("STYLEDIFFUSER_SECRET_KEY", "very secret")
    outcome = python("import os; print(sorted(os.environ))", tmp_path)
    assert outcome.code == 0 and "HOME" in outcome.output
    assert "STYLEDIFFUSER" not in outcome.output and "DJANGO" not in outcome.output


def test_one_that_never_ends_is_ended_with_what_it_started(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, pathlib\n"
        "child = subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(child.pid))\n"
        "try: child.wait()\n"
        "finally: child.kill(); child.wait()"
    )
    assert python(code, tmp_path, seconds=2).code is None
    pid = int((tmp_path / "pid").read_text())
    with contextlib.suppress(psutil.NoSuchProcess):  # nobody's child now: ended, maybe not buried
        child = psutil.Process(pid)
        end = time.monotonic() + 10
        while child.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < end, f"{pid} still runs"
            time.sleep(0.05)
