"""A stage's journal: what a later run trusts of an earlier one."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from models_core.data.settings import Prune
from models_core.data.stage import Dropped, Item, Outcome, Stage, digest_of, plain, read_lines, save
from models_core.data.workers import Workers

ITEMS = [Item(f"key {n}", n) for n in range(5)]


@dataclass
class Work:
    """Writes a file an item, notes what it was called for, may fail at one."""

    folder: Path
    fails_at: int = -1

    def __post_init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, n: int) -> Outcome:
        self.calls.append(n)
        if n == self.fails_at:
            raise OSError(28, "No space left on device")
        if n == 3:
            return Outcome(reason="a three")
        files = save(self.folder, f"images/{n}.txt", f"content {n}".encode())
        return Outcome({"id": str(n)}, files=files)


def run(out: Path, settings: object = "first", fails_at: int = -1, items=ITEMS) -> list[int]:
    """What was worked on; the stage is finished unless the work failed."""
    stage = Stage(out, "collect", settings)
    if stage.finished(items) is not None:
        return []
    work = Work(stage.folder, fails_at)
    try:
        outcomes = stage.run(items, work, Workers(1))
    except OSError:
        return work.calls
    kept = [o.record for o in outcomes if o.record]
    dropped = [Dropped({"n": n}, o.reason) for n, o in enumerate(outcomes) if o.reason]
    stage.finish(items, kept, dropped)
    return work.calls


def test_a_finished_stage_is_not_done_again(tmp_path):
    assert run(tmp_path) == [0, 1, 2, 3, 4]
    assert run(tmp_path) == []
    folder = tmp_path / "stages/collect"
    records = [{"id": "0"}, {"id": "1"}, {"id": "2"}, {"id": "4"}]
    assert read_lines(folder / "records.jsonl") == records
    assert Stage(tmp_path, "collect", "first").finished(ITEMS) == records
    assert read_lines(folder / "dropped.jsonl") == [{"reason": "a three", "n": 3}]


def test_an_interrupted_stage_goes_on_where_it_was(tmp_path):
    assert run(tmp_path, fails_at=2) == [0, 1, 2]
    assert not (tmp_path / "stages/collect/summary.json").exists()
    assert run(tmp_path) == [2, 3, 4]


@pytest.mark.parametrize(
    ("damage", "again"),
    [
        (lambda f: (f / "images/0.txt").unlink(), [0, 2, 3, 4]),
        (lambda f: (f / "images/1.txt").write_text("conte"), [1, 2, 3, 4]),
        (lambda f: (f / "images/7.txt.9.part").write_text("half"), [2, 3, 4]),
        (lambda f: cut_last_line(f / "journal.jsonl", 10), [1, 2, 3, 4]),
        (lambda f: cut_last_line(f / "journal.jsonl", 1), [2, 3, 4]),  # whole but for its end
        (lambda f: (f / "journal.jsonl").unlink(), [0, 1, 2, 3, 4]),
        (lambda f: (f / "journal.jsonl").write_bytes(b"\xff\x00{"), [0, 1, 2, 3, 4]),
    ],
)
def test_what_is_torn_is_not_trusted(tmp_path, damage, again):
    run(tmp_path, fails_at=2)
    folder = tmp_path / "stages/collect"
    damage(folder)
    assert run(tmp_path) == again
    assert sorted(file.name for file in (folder / "images").iterdir()) == [
        f"{n}.txt" for n in (0, 1, 2, 4)
    ]
    assert (folder / "images/1.txt").read_text() == "content 1"
    assert run(tmp_path) == []


def cut_last_line(journal: Path, by: int) -> None:
    journal.write_bytes(journal.read_bytes()[:-by])


def test_a_file_lost_or_damaged_after_the_end_is_made_again(tmp_path):
    run(tmp_path)
    (tmp_path / "stages/collect/images/4.txt").unlink()
    (tmp_path / "stages/collect/images/0.txt").write_text("")
    assert run(tmp_path) == [0, 4]


def test_other_settings_begin_anew_and_other_items_only_add(tmp_path):
    run(tmp_path)
    more = [*ITEMS, Item("key 5", 5)]
    assert run(tmp_path, items=more) == [5]
    assert run(tmp_path, items=more[1:]) == []
    assert run(tmp_path, settings="second") == [0, 1, 2, 3, 4]


def test_settings_have_the_same_digest_in_every_process():
    value = {"a": frozenset({"x", "y", "z"}), "b": (1, Path("c")), "c": Prune(clusters=3)}
    assert plain(value)["a"] == ["x", "y", "z"]
    assert plain(value)["b"] == [1, "c"]
    assert plain(value)["c"]["clusters"] == 3
    assert digest_of(plain(value)) == digest_of(plain(dict(reversed(value.items()))))
