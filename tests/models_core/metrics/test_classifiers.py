"""The two figures that come from networks trained on the spot, on pictures of known kinds."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models_core.data.dataset import ImageFolder
from models_core.metrics import tags, two_sample
from models_core.metrics.tags import agreement, open_reader
from models_core.metrics.two_sample import two_sample_accuracy


def discs(count: int, seed: int, *, dent: bool = False) -> np.ndarray:
    """Discs of any colour and place; with a dent, a piece of each is missing."""
    dice = np.random.default_rng(seed)
    rows, columns = np.indices((32, 32))
    pictures = np.empty((count, 32, 32, 3), np.uint8)
    for picture in pictures:
        y, x = dice.integers(11, 21, size=2)
        picture[:] = dice.integers(160, 256, size=3)
        inside = np.hypot(rows - y, columns - x) < 9
        if dent:
            inside &= np.hypot(rows - y, columns - x - 4) > 5
        picture[inside] = dice.integers(0, 96, size=3)
    return pictures


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(two_sample, "FEWEST", 50)
    torch.set_num_threads(1)


def test_sets_of_one_kind_are_not_told_apart():
    found = two_sample_accuracy(discs(160, 1), discs(160, 2))
    assert abs(found.value - 0.5) < 0.15
    assert found.low < 0.5 < found.high


def test_sets_of_two_kinds_are_told_apart():
    state = torch.random.get_rng_state()
    real, made = discs(120, 3), discs(100, 4, dent=True)
    found = two_sample_accuracy(real, made)
    assert found.value > 0.9 and found.low > 0.8
    assert two_sample_accuracy(real, made) == found, "the seed decides"
    assert torch.equal(torch.random.get_rng_state(), state)


def test_what_no_person_sees_tells_nothing():
    """Grain of a third of a grey level on one set alone."""
    real = discs(120, 5)
    grain = np.random.default_rng(6).random(real.shape) < 1 / 3
    assert (
        two_sample_accuracy(real, np.clip(discs(120, 7) + grain, 0, 255).astype(np.uint8)).low < 0.6
    )


def test_the_reader_reads_the_tags_it_was_taught(built, tmp_path, monkeypatch):
    monkeypatch.setattr(tags, "STEPS", 40)
    monkeypatch.setattr(tags, "BATCH", 16)
    steps = []
    reader = open_reader(built, "crop", tmp_path, progress=lambda done, of: steps.append(done))
    assert steps[-1] == 40 and reader.groups["beard"] == ["full beard", ""]
    folder = ImageFolder(built)
    pixels, asked = folder.pixels("crop", 64), [row["tags"] for row in folder.rows]
    found = agreement(reader, pixels, asked)
    assert found["hair colour"] > 0.95 and set(found) == {"hair colour", "hair length", "beard"}
    other = {"pink hair": "black hair", "black hair": "pink hair"}
    wrong = [{**row, "hair colour": other[row["hair colour"]]} for row in asked]
    assert agreement(reader, pixels, wrong)["hair colour"] == pytest.approx(
        1 - found["hair colour"]
    )

    (kept,) = Path(tmp_path).glob("tag-reader-*.pt")
    before = kept.stat().st_mtime_ns
    again = open_reader(built, "crop", tmp_path)
    assert kept.stat().st_mtime_ns == before, "taught once"
    assert again.read(pixels[:5]) == reader.read(pixels[:5])
