"""The benches at a tiny size, so that they do not rot: what is measured then says nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench import table
from tests.bench.__main__ import BENCHES, measure
from tests.bench.day import Day, Plan
from tests.bench.rows import Bar, Row, Size, by_turns
from tests.deploy.processes import need

NEEDS = {"images": ("nginx", "envsubst"), "shipping": ("sshd", "sftp", "ssh-keygen")}
# The peer's packages come from npm, which tests do without; a worker takes long to warm up.
LEFT_OUT = {"peer", "memory"}
KEYS = ["name", "ours", "reference", "unit", "ratio", "bar", "holds"]


@pytest.mark.parametrize("bench", [name for name in BENCHES if name not in LEFT_OUT])
def test_each_bench_measures_both_sides(bench: str) -> None:
    if bench in NEEDS:
        need(*NEEDS[bench], root=True)
    rows = measure(bench, Size(small=True))
    assert rows
    for row in rows:
        assert row.ours > 0 and row.reference > 0
        assert list(row.record()) == KEYS


def test_bars_have_a_direction_and_a_row_may_be_unsound() -> None:
    assert Row("a", 3, 4, "x", Bar("≥", 0.7)).holds
    assert not Row("a", 3, 4, "x", Bar("≥", 0.8)).holds
    assert Row("a", 5, 4, "x", Bar("≤", 1.3)).holds
    assert not Row("a", 6, 4, "x", Bar("≤", 1.3)).holds
    assert not Row("a", 5, 4, "x", Bar("≤", 1.3), sound=False).holds


def test_ours_and_reference_take_turns() -> None:
    seen: list[str] = []

    def note(what: str) -> int:
        seen.append(what)
        return len(seen)

    assert by_turns(2, lambda: note("ours"), lambda: note("theirs")) == ([1, 3], [2, 4])
    assert seen == ["ours", "theirs"] * 2


def test_the_table_keeps_what_other_benches_measured(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    order = ("walks", "naps")
    naps = [Row("naps a day", 2, 1, "naps", Bar("≤", 1.5), notes=["tired"])]
    walks = [Row("walks a day", 3, 4, "walks", Bar("≥", 0.5))]
    table.write(page, order, "naps", naps, 5)
    table.write(page, order, "walks", walks, 5)
    table.write(page, order, "walks", walks, 7)
    records = json.loads(page.with_suffix(".json").read_text())
    assert [record["name"] for record in records] == ["walks a day", "naps a day"]
    assert records[1] == {
        "name": "naps a day", "ours": 2.0, "reference": 1.0, "unit": "naps", "ratio": 2.0,
        "bar": "≤ 1.5", "holds": False,
    }  # fmt: skip
    text = page.read_text()
    assert "| naps | naps a day | 2 | 1 | naps | 2 | ≤ 1.5 | **no** |" in text
    assert "tired" in text and ", 7 s," in text


def test_the_modelled_day_serves_all_only_while_workers_keep_up() -> None:
    """With half the speed that the demand needs, the buffer must run dry and claims go without."""
    enough = Day(Plan(low=40_000, high=60_000), seed=1).run(6 * 3600)
    assert enough.served == enough.asked > 1_000_000
    short = Day(Plan(speed=0.3, low=40_000, high=60_000), seed=1).run(6 * 3600)
    assert short.lowest == 0 and short.served < 0.9 * short.asked
    assert enough.lost > 0
