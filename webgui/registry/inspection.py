"""A whole file's way to its verdict. `models_core.formats` judges, in a process of its own.

The verdict is the row's: whoever inspects takes the row for a time with one conditional update,
and settles it with another. One file at a time, so that the server's other work goes on beside.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import F, Q
from django.utils import timezone

from messaging.logs import bound
from webgui.watching import tallies

from . import doorbell, loading, storage
from .inspector import Outcome, run
from .models import Checkpoint

INSPECTION = 1  # the report's version; docs/checkpoints.md describes it
ATTEMPTS = 3
# More than `models_core` itself gives a look; both are less than a task of the server may take.
INSPECT_SECONDS, CONVERT_SECONDS = 60, 420
# Both together, and a little for moving files. Then another may try.
TAKEN = timedelta(seconds=INSPECT_SECONDS + CONVERT_SECONDS + 30)
CONVERTED = (".safetensors", ".json", ".txt")
State = Checkpoint.State
VERDICTS = (State.READY, State.UNSUPPORTED, State.CORRUPT, State.UNSAFE, State.INCOMPATIBLE)
# Of these nothing is left to look at again, or nothing that should be.
DISCARDED = (State.READY, State.UNSAFE)
log = logging.getLogger(__name__)


class Failed(Exception):
    """The inspection itself did not work; the message says how."""


def inspect(checkpoint_id: UUID) -> State | None:
    """Inspect the file and settle its row. None where another does, or did, or it must wait."""
    checkpoint = _take(checkpoint_id)
    if checkpoint is None:
        return None
    with bound(checkpoint=checkpoint.pk, request=checkpoint.request):
        log.info("Inspection %d of %s begins", checkpoint.attempts, checkpoint.name)
        state = _inspect(checkpoint)
    ring_waiting()
    return state


def _inspect(checkpoint: Checkpoint) -> State | None:
    files: list[dict[str, Any]] = []
    try:
        with _scratch(checkpoint) as scratch:
            report = _ask(checkpoint, scratch)
            if report["state"] == State.READY:
                report = _convert(checkpoint, scratch / "converted")
            if report["state"] == State.READY:
                files = _store(scratch / "converted")
                if report["kind"] == "release":
                    _register(files)
    except Failed as failure:
        return _give_up_or_retry(checkpoint, str(failure))
    return _settle(checkpoint, report, files)


def ring_waiting() -> None:
    """Ring for the file that has waited longest, if none is being inspected."""
    free = Checkpoint.objects.filter(_due(), state=State.INSPECTING).order_by("created_at")
    if (first := free.first()) is not None and not _busy():
        doorbell.ring_inspection(first.pk)


def _due() -> Q:
    return Q(inspect_deadline=None) | Q(inspect_deadline__lt=timezone.now())


def _busy() -> bool:
    taken = Checkpoint.objects.filter(state=State.INSPECTING, inspect_deadline__gt=timezone.now())
    return taken.exists()


def _take(checkpoint_id: UUID) -> Checkpoint | None:
    if _busy():
        return None
    waiting = Checkpoint.objects.filter(_due(), pk=checkpoint_id, state=State.INSPECTING)
    taken = waiting.update(
        attempts=F("attempts") + 1, inspect_deadline=timezone.now() + TAKEN, reason=""
    )
    return Checkpoint.objects.get(pk=checkpoint_id) if taken else None


def _mine(checkpoint: Checkpoint) -> Any:
    """The row, as long as nobody else has taken it meanwhile."""
    return Checkpoint.objects.filter(
        pk=checkpoint.pk, state=State.INSPECTING, attempts=checkpoint.attempts
    )


@contextmanager
def _scratch(checkpoint: Checkpoint) -> Iterator[Path]:
    if not checkpoint.original.is_file():
        raise Failed("the uploaded file is no longer there: delete this entry and upload it again")
    if checkpoint.attempts > ATTEMPTS:
        raise Failed("the inspection was cut short every time: the server ended it, or it crashed")
    _scratch_root().mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=_scratch_root(), prefix=f"{checkpoint.pk}.") as folder:
        yield Path(folder)


def _ask(checkpoint: Checkpoint, scratch: Path) -> dict[str, Any]:
    arguments = ["inspect", str(checkpoint.original), "--json"]
    if checkpoint.kind_wanted:
        arguments += ["--kind", checkpoint.kind_wanted]
    return _report(run(arguments, scratch, INSPECT_SECONDS), INSPECT_SECONDS)


def _convert(checkpoint: Checkpoint, out: Path) -> dict[str, Any]:
    """Write the file as safetensors and JSON; what converting finds is a verdict as well."""
    arguments = ["convert", "checkpoint", str(checkpoint.original), "--out", str(out), "--json"]
    return _report(run(arguments, out.parent, CONVERT_SECONDS), CONVERT_SECONDS)


def _report(outcome: Outcome, seconds: int) -> dict[str, Any]:
    try:
        report = json.loads(outcome.output)
        if report["inspection"] != INSPECTION or report["state"] not in VERDICTS:
            raise Failed(f"the report is of another version ({report['inspection']})")
    except (ValueError, KeyError, TypeError):
        raise Failed(_how_it_ended(outcome, seconds)) from None
    return dict(report)


def _register(files: list[dict[str, Any]]) -> None:
    try:
        loading.register(files)
    except loading.BadBundle as error:
        raise Failed(str(error).rstrip(".")) from error


def _how_it_ended(outcome: Outcome, seconds: int) -> str:
    if outcome.code is None:
        return f"it was not done within {seconds} s"
    return outcome.last_words or f"it ended with exit code {outcome.code} and no word"


def _store(out: Path) -> list[dict[str, Any]]:
    """Put what was written where workers read."""
    paths = sorted(path for path in out.rglob("*") if path.is_symlink() or not path.is_dir())
    strange = [path.name for path in paths if path.is_symlink() or path.suffix not in CONVERTED]
    if strange or not paths:
        raise Failed(f"the converted form holds {', '.join(strange) or 'nothing'}")
    try:
        return [{"file": str(path.relative_to(out)), **storage.store(path)} for path in paths]
    except OSError as error:
        raise Failed(f"the converted form could not be stored: {error.strerror}") from error


def _settle(
    checkpoint: Checkpoint, report: dict[str, Any], files: list[dict[str, Any]]
) -> State | None:
    state = State(report["state"])
    found = {key: value for key, value in report.items() if key not in ("state", "reason")}
    if missing := [file["file"] for file in files if not storage.place(file["sha256"]).is_file()]:
        # Another checkpoint with the same file was deleted at this very moment.
        return _give_up_or_retry(checkpoint, f"{missing[0]} was removed meanwhile")
    settled = _mine(checkpoint).update(
        state=state,
        reason=_sentence(str(report.get("reason", ""))),
        kind=str(report.get("kind", ""))[:40] if state == State.READY else "",
        report=found,
        files=files,
        stored_bytes=sum(file["bytes"] for file in files),
        settled_at=timezone.now(),
        inspect_deadline=None,
    )
    if not settled:
        return None
    tallies.count("inspections", verdict=state.value)
    if state in DISCARDED:
        checkpoint.original.unlink(missing_ok=True)
    log.info("Checkpoint %s is %s", checkpoint.name, state)
    return state


def _sentence(reason: str) -> str:
    return reason and reason[0].upper() + reason[1:].rstrip(".") + "."


def _give_up_or_retry(checkpoint: Checkpoint, failure: str) -> State | None:
    log.error("Inspection of %s: %s", checkpoint.name, failure)
    if checkpoint.attempts < ATTEMPTS and checkpoint.original.is_file():
        _mine(checkpoint).update(inspect_deadline=None, reason=f"Tried, and failed: {failure}.")
        return None
    reason = f"It could not be inspected: {failure}."
    return _settle(checkpoint, {"state": State.UNSUPPORTED, "reason": reason}, [])


def clear_scratch() -> None:
    """Remove what killed inspections left."""
    if not _busy():
        for folder in _scratch_root().glob("*"):
            shutil.rmtree(folder, ignore_errors=True)


def _scratch_root() -> Path:
    return Path(settings.UPLOAD_ROOT) / "inspection"
