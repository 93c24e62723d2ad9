"""A stage of a build: done item by item in a folder of its own, resumed where it was cut off.

    <out>/stages/<name>/journal.jsonl   the settings' digest, then what came of each item
                        records.jsonl   what goes on to the next stage, once all is done
                        dropped.jsonl   what does not, and why
                        summary.json    counts, reasons, settings; written last
                        sheet.jpg …     pictures to look at

A journal's line counts only if every file it names is there with the digest it says: a crash or a
full disk may leave a torn line or a file cut short.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from models_core.data.picture import write_file
from models_core.data.workers import Workers

Record = dict[str, Any]
Progress = Callable[[str, int, int], None]  # stage, items done, of
VERSION = 1  # raised when the same settings come to mean something else
NAMES = ("collect", "crop", "super-resolve", "prune", "write")


class Item(NamedTuple):
    """The key changes whenever the outcome could."""

    key: str
    payload: Any


@dataclass(frozen=True)
class Outcome:
    """What came of an item: a record that goes on, or the reason why not.

    `files`: digest by path, relative to the stage's folder, of what was written for it.
    """

    record: Record | None = None
    reason: str = ""
    files: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Dropped:
    """An item that does not go on: its record as far as there is one."""

    record: Record
    reason: str


class Stage:
    """One stage's folder. Only the building process writes journals; workers write pictures."""

    def __init__(self, out: Path, name: str, settings: Any, decision: Any = None) -> None:
        """`settings` decide what comes of an item, `decision` only what is made of them all."""
        self.out, self.name = out, name
        self.folder = out / "stages" / name
        self.settings = plain([settings, decision] if decision is not None else settings)
        self.digest = digest_of([VERSION, plain(settings)])
        self.journal = self.folder / "journal.jsonl"

    def run(
        self,
        items: Sequence[Item],
        work: Callable[[Any], Outcome],
        workers: Workers,
        progress: Progress | None = None,
    ) -> list[Outcome]:
        """The outcome of every item, in order; only what was not done before is worked on."""
        known = self._resume()
        todo = [item for item in items if item.key not in known]
        done = len(items) - len(todo)
        with self.journal.open("a", encoding="utf-8") as stream:
            outcomes = workers.map(work, [item.payload for item in todo])
            for item, outcome in zip(todo, outcomes, strict=True):
                line = {"key": item.key, **dataclasses.asdict(outcome)}
                stream.write(json.dumps(line, ensure_ascii=False) + "\n")
                stream.flush()
                known[item.key] = outcome
                done += 1
                if progress:
                    progress(self.name, done, len(items))
        if progress and not todo:
            progress(self.name, done, len(items))
        return [known[item.key] for item in items]

    def finished(self, items: Sequence[Item]) -> list[Record] | None:
        """The records of these items, if all was done with these settings and is still there."""
        summary = self._summary()
        if summary.get("settings") != self.settings:
            return None
        if summary.get("items") != _items_digest(items):
            return None
        known = self._read_journal()
        if any(item.key not in known for item in items):
            return None
        return read_lines(self.folder / "records.jsonl")

    def finish(
        self,
        items: Sequence[Item],
        kept: Sequence[Record],
        dropped: Sequence[Dropped],
        **extra: Any,
    ) -> dict[str, Any]:
        """Write what goes on, what does not and the summary."""
        write_lines(self.folder / "records.jsonl", kept)
        write_lines(
            self.folder / "dropped.jsonl",
            [{"reason": d.reason, **d.record} for d in dropped],
        )
        summary = {
            "stage": self.name,
            "taken": len(items),
            "kept": len(kept),
            "dropped": dict(Counter(d.reason for d in dropped).most_common()),
            **extra,
            "settings": self.settings,
            "digest": self.digest,
            "items": _items_digest(items),
        }
        text = json.dumps(summary, indent=1, ensure_ascii=False)
        write_file(self.folder / "summary.json", text.encode())
        return summary

    def _summary(self) -> dict[str, Any]:
        file = self.folder / "summary.json"
        return json.loads(file.read_text()) if file.exists() else {}

    def _resume(self) -> dict[str, Outcome]:
        """Open the journal: kept if these settings began it, else the folder begins anew."""
        (self.folder / "summary.json").unlink(missing_ok=True)
        known = self._read_journal()
        if not known:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
        for part in self.folder.rglob("*.part"):
            part.unlink()
        # Rewritten rather than appended to: a torn last line must not swallow the next one.
        lines = [{"key": key, **dataclasses.asdict(o)} for key, o in known.items()]
        write_lines(self.journal, [{"digest": self.digest}, *lines])
        return known

    def _read_journal(self) -> dict[str, Outcome]:
        lines = read_lines(self.journal) if self.journal.exists() else []
        if not lines or lines[0].get("digest") != self.digest:
            return {}
        known = {}
        for line in lines[1:]:
            outcome = Outcome(line["record"], line["reason"], line["files"])
            if self._holds(outcome):
                known[line["key"]] = outcome
        return known

    def _holds(self, outcome: Outcome) -> bool:
        """Are the outcome's files there, as they were written?"""
        for name, digest in outcome.files.items():
            file = self.folder / name
            if not file.is_file():
                return False
            if hashlib.sha256(file.read_bytes()).hexdigest() != digest:
                return False
        return True


def save(folder: Path, name: str, content: bytes) -> dict[str, str]:
    """Write one of a stage's files; returns what `Outcome.files` says of it."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    write_file(file, content)
    return {name: hashlib.sha256(content).hexdigest()}


def plain(value: Any) -> Any:
    """JSON of settings, the same in every process (sets are sorted)."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"kind": type(value).__name__, **fields}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, frozenset | set):
        return sorted(map(plain, value))
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def digest_of(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def file_digest(name: str) -> str:
    """Of a model's file or folder that settings name; a built-in's name stands for itself."""
    path = Path(name)
    files = [path] if path.is_file() else sorted(path.glob("*")) if path.is_dir() else []
    parts = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()]
    return digest_of(parts) if parts else name


def items_of(records: Iterable[Record]) -> list[Item]:
    """An earlier stage's records as items: whatever changes in one, it is worked on anew."""
    return [Item(f"{record['id']} {digest_of(record)[:16]}", record) for record in records]


def _items_digest(items: Iterable[Item]) -> str:
    return hashlib.sha256("\n".join(item.key for item in items).encode()).hexdigest()


def read_lines(file: Path) -> list[dict[str, Any]]:
    """The rows of a JSON-lines file; a torn last line is as if it were not there."""
    rows = []
    for line in file.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def write_lines(file: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_file(file, text.encode())
