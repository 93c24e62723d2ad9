"""Measuring by turns in processes of their own, and the table that keeps what others measured."""

import json

import pytest

from models_core.__main__ import main
from models_core.bench.cases import Case, Row, measure
from models_core.bench.stylegan2 import cases, prepare_sampling, prepare_training
from models_core.bench.table import write
from tests.models_core.bench.naps import prepare


def test_variants_are_measured_by_turns_each_with_its_own_memory(capsys):
    variants = {
        "slow": {"seconds": 0.02},
        "fast": {"seconds": 0.01, "megabytes": 300},
        "broken": {"seconds": 0.01, "fails": True},
    }
    slow, fast, broken = measure(Case("sleep", "naps", prepare, variants), 3, 1, patience=120)
    assert (slow.per_second, fast.per_second) == (50, 100)
    assert len(slow.all) == 3
    assert slow.peak_mb and fast.peak_mb and 200 < fast.peak_mb - slow.peak_mb < 450
    assert broken.per_second is None and broken.failure == "RuntimeError: no compiler"
    assert "fast: 100 a second" in capsys.readouterr().err


def test_the_table_keeps_other_cases_and_sections(tmp_path):
    out = tmp_path / "benchmarks.md"
    rows = [Row("plain", 50.0, [50.0], 1.0, 100.0), Row("quick", 75.0, [75.0], 2.0, 90.0)]
    naps, walks = Case("naps", "naps", prepare), Case("walks", "walks", prepare)
    write(out, "sleep", "Sleep", naps, rows, 5, 1)
    write(out, "walk", "Walking", walks, [Row("plain", failure="not ready in 9 s")], 5, 1)
    write(out, "sleep", "Sleep", naps, rows[:1], 3, 2)
    page = out.read_text()
    assert "| plain | 50 | 1.00 | 1 s | 100 MB |" in page
    assert "quick" not in page
    assert "## Walking" in page and "| plain | not ready in 9 s | | | |" in page
    assert "2 thread(s), median of 3." in page
    results = json.loads(out.with_suffix(".json").read_text())
    assert results["sleep"]["cases"]["naps"]["rows"][0]["all"] == [50.0]
    write(out, "sleep", "Sleep", naps, rows, 5, 1)
    assert "| quick | 75 | 1.50 | 2 s | 90 MB |" in out.read_text()


def test_every_case_prepares_what_it_names():
    names = [case.name for case in cases()]
    assert len(names) == len(set(names)) == 6
    for size in ("64×64", "256×256"):
        assert [name.startswith("Sampling") for name in names if size in name] == [
            True,
            True,
            False,
        ]
    for case in cases():
        assert case.prepare in (prepare_sampling, prepare_training)
        assert len(case.variants) >= 4


@pytest.mark.parametrize("options", [{}, {"p": 0.5}, {"precision": "bf16"}])
def test_training_is_timed_with_its_share_of_r1(options, monkeypatch):
    monkeypatch.setattr("models_core.bench.stylegan2.TRAINING_BATCH", {16: 4})
    monkeypatch.setattr(
        "models_core.bench.stylegan2.NETWORKS", {16: {"channel_base": 128, "channel_max": 8}}
    )
    assert 0 < prepare_training(16, **options)() < 60
    assert 0 < prepare_sampling(16, 2, "channels_last", compiled=False)() < 60


def test_an_unknown_section_is_told(tmp_path, capsys):
    assert main(["bench", "sdxl", "--out", str(tmp_path / "b.md")]) == 2
    assert "no section 'sdxl'; there are stylegan2" in capsys.readouterr().err
    assert not (tmp_path / "b.md").exists()
