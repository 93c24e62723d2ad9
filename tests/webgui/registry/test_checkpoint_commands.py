"""What the pages about checkpoints do, from the command line."""

from __future__ import annotations

import hashlib
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from webgui.accounts import audit
from webgui.registry import doorbell
from webgui.registry.models import Checkpoint

pytestmark = pytest.mark.django_db
State = Checkpoint.State


def run(*arguments: Any) -> str:
    out = StringIO()
    call_command(*map(str, arguments), stdout=out)
    return out.getvalue()


@pytest.fixture(autouse=True)
def place(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Who is rung for."""
    settings.UPLOAD_ROOT = tmp_path / "uploads"
    rung: list[Any] = []
    monkeypatch.setattr(doorbell, "ring_inspection", rung.append)
    return rung


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "faces.pkl"
    path.write_bytes(b"not a model" * 300_000)  # more than a block
    return path


def settle(state: str, **fields: Any) -> Checkpoint:
    Checkpoint.objects.update(state=state, **fields)
    return Checkpoint.objects.get()


def test_a_file_is_brought_once(file: Path, place: list[Any]) -> None:
    assert run("add_checkpoint", file, "--no-wait").startswith("Checkpoint ")
    row = Checkpoint.objects.get()
    assert (row.name, row.state) == ("faces.pkl", State.INSPECTING)
    assert row.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert row.original.read_bytes() == file.read_bytes()
    assert place == [row.pk]
    assert [(entry.actor, entry.act) for entry in audit.of(row)] == [
        ("command line", "checkpoint.uploaded")
    ]
    settle(State.READY, kind="stylegan2")
    assert "ready: stylegan2" in run("add_checkpoint", file)
    assert Checkpoint.objects.count() == 1


def test_a_refused_one_is_told_inspected_again_and_deleted(file: Path, place: list[Any]) -> None:
    run("add_checkpoint", file, "--no-wait")
    row = settle(State.UNSUPPORTED, reason="a JPEG picture", report={"accepted": ["LoRA"]})
    with pytest.raises(CommandError, match="unsupported: a JPEG picture"):
        run("add_checkpoint", file)
    assert f"{row.pk}  unsupported" in run("checkpoint")
    assert '"accepted"' in run("checkpoint", row.pk)
    place.clear()
    with pytest.MonkeyPatch.context() as patch:
        answer = lambda _: settle(State.INCOMPATIBLE, reason="no LoRA")  # noqa: E731
        patch.setattr(doorbell, "ring_inspection", answer)
        with pytest.raises(CommandError, match="incompatible: no LoRA"):
            run("checkpoint", row.pk, "--inspect", "lora")
    assert Checkpoint.objects.get().kind_wanted == "lora"
    assert "is deleted" in run("checkpoint", row.pk, "--delete")
    assert not Checkpoint.objects.exists() and not row.original.exists()


def test_what_cannot_be_done_says_why(tmp_path: Path, file: Path) -> None:
    with pytest.raises(CommandError, match="No such file"):
        run("add_checkpoint", tmp_path / "nowhere.pkl")
    with pytest.raises(CommandError, match="give its id"):
        run("checkpoint", "--delete")
    with pytest.raises(CommandError, match="no such checkpoint"):
        run("checkpoint", "00000000-0000-0000-0000-000000000000")
    run("add_checkpoint", file, "--no-wait")
    row = settle(State.READY)
    with pytest.raises(CommandError, match="is not inspected again"):
        run("checkpoint", row.pk, "--inspect")
