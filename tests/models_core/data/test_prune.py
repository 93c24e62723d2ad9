"""Removing minority clusters and unsafe pictures."""

import shutil

import numpy as np
import pytest
from PIL import Image

from models_core.data import prune as prune_stage
from models_core.data.dicebear import Style, draw_options, render, style_definition
from models_core.data.prune import cluster, prune
from models_core.data.settings import Prune
from models_core.data.stage import read_lines
from models_core.data.workers import Workers
from tests.models_core.data.test_detectors import RECIPES, Recipe, heads


def test_clusters_are_numbered_from_the_largest_whatever_the_lengths():
    dice = np.random.default_rng(0)
    centres = np.eye(8)[[0] * 5 + [1] * 20 + [2] * 10]
    features = (centres + dice.normal(0, 0.02, centres.shape)) * dice.uniform(1, 50, (35, 1))
    found = cluster(features, 3)
    assert found.sizes == [20, 10, 5]
    assert found.of.tolist() == [2] * 5 + [0] * 20 + [1] * 10
    assert found.distances.shape == (35,)
    assert found.distances.max() < 0.3
    assert cluster(features[:2], 3).sizes == [1, 1]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Twelve toon heads and five of another artist, as the stage before hands them on."""
    out = tmp_path_factory.mktemp("mixed")
    style = Style(style_definition("lorelei"))
    sources = Recipe.read(RECIPES / "styles-data.toml").sources
    (lorelei,) = (source for source in sources if source.style == "lorelei")
    drawings = [draw_options(lorelei.groups, lorelei.rules, f"o-{i}") for i in range(5)]
    images = [*heads(12, 96), *(render(style, drawing, 96) for drawing in drawings)]
    folder = out / "stages" / "super-resolve"
    records = []
    for kind in ("whole", "crop"):
        (folder / kind).mkdir(parents=True)
    for i, image in enumerate(images):
        for kind in ("whole", "crop"):
            image.save(folder / kind / f"{i}.png")
        files = {f"{kind}_file": f"super-resolve/{kind}/{i}.png" for kind in ("whole", "crop")}
        records.append({"id": str(i), **files})
    return out, records


def ids(records) -> list[int]:
    return [int(record["id"]) for record in records]


def test_another_artist_s_drawings_are_a_minority_cluster(mixed):
    out, records = mixed
    kept = prune(Prune(clusters=2), out, records, Workers(1))
    assert ids(kept) == list(range(12))
    folder = out / "stages" / "prune"
    assert [row["reason"] for row in read_lines(folder / "dropped.jsonl")] == ["cluster 2"] * 5
    for name in ("clusters.jpg", "dropped.jpg", "sheet.jpg"):
        assert Image.open(folder / name).width >= 384
    # Both are kept where the recipe says so, without looking at any picture again.
    (out / "stages" / "super-resolve" / "crop" / "0.png").rename(out / "away.png")
    try:
        with pytest.raises(FileNotFoundError):  # only the sheets look
            prune(Prune(clusters=2, keep=2), out, records, Workers(1))
    finally:
        (out / "away.png").rename(out / "stages" / "super-resolve" / "crop" / "0.png")
    assert ids(prune(Prune(clusters=2, keep=2), out, records, Workers(1))) == list(range(17))
    assert ids(prune(Prune(clusters=2, keep=[2]), out, records, Workers(1))) == list(range(12, 17))


def test_unsafe_pictures_are_removed_and_scores_kept(mixed, tmp_path, monkeypatch):
    out, records = mixed
    scores = iter([0.1, 0.9, float("nan"), 0.3])
    monkeypatch.setattr(prune_stage, "_classifier", lambda: lambda images: [next(scores)])
    kept = prune(Prune(unsafe=0.3), out, records[:4], Workers(1))
    assert ids(kept) == [0, 3]
    assert [record["unsafe"] for record in kept] == [0.1, 0.3]


def test_the_real_classifier_finds_drawings_safe(mixed):
    out, records = mixed
    shutil.rmtree(out / "stages" / "prune", ignore_errors=True)
    assert ids(prune(Prune(unsafe=0.2), out, records[:3], Workers(1))) == [0, 1, 2]


def test_without_settings_nothing_is_removed(mixed):
    out, records = mixed
    assert prune(Prune(), out, records, Workers(1)) == records
