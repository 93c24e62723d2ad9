"""Building: what is on disk, and what is left of it when a build is cut off."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from models_core.__main__ import main
from models_core.data.build import BuildError, build
from models_core.data.recipe import Recipe
from models_core.data.super_resolve import cut
from models_core.data.write import split_of
from tests.models_core.data.conftest import write_small
from tests.models_core.data.test_recipe import TWO_STYLES

SPLITS = ("train", "validation", "test")


def rows_of(folder: Path) -> dict[str, list[dict]]:
    return {
        split: [json.loads(line) for line in (folder / split / "metadata.jsonl").open()]
        for split in SPLITS
    }


def digests(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.suffix in (".png", ".jsonl", ".json") and file.name != "journal.jsonl"
    }


def test_every_image_is_there_twice_and_described(built):
    summary = json.loads((built / "dataset.json").read_text())
    by_split = rows_of(built)
    assert {split: len(rows) for split, rows in by_split.items()} == summary["counts"]
    assert sum(summary["counts"].values()) + summary["duplicates"] == 40
    for split, rows in by_split.items():
        for row in rows:
            for key, digest in (("file_name", "sha256"), ("crop_file_name", "crop_sha256")):
                content = (built / split / row[key]).read_bytes()
                assert hashlib.sha256(content).hexdigest() == row[digest]
                assert Image.open(built / split / row[key]).size == (32, 32)
            assert row["caption"] == ", ".join(row["tags"].values())
            assert split_of(row["id"]) == split
            assert row["source"] == "dicebear/toon-head"
            if row["tags"].get("beard"):
                assert row["tags"]["hair length"] == "short hair"


def test_the_summary_counts_tags_and_names_the_artist(built):
    summary = json.loads((built / "dataset.json").read_text())
    train = rows_of(built)["train"]
    pink = sum(row["tags"]["hair colour"] == "pink hair" for row in train)
    assert summary["tags"]["hair colour"]["pink hair"] == pytest.approx(pink / len(train), abs=1e-4)
    assert list(summary["tags"]["beard"]) == ["full beard"]
    (source,) = summary["sources"]
    assert source["creator"]["name"] == "Johan Melin"
    assert source["licence"]["name"] == "CC BY 4.0"
    assert source["url"].startswith("https://www.figma.com/")


def test_the_crop_shows_the_crop_box(built):
    """The crop is the drawing's box; at this size both agree but for resampling."""
    row = rows_of(built)["train"][0]
    whole = Image.open(built / "train" / row["file_name"])
    left, top, side = (f * 32 for f in row["crop"])
    again = cut(whole, (left, top, left + side, top + side), 32)
    crop = Image.open(built / "train" / row["crop_file_name"])
    pairs = zip(again.tobytes(), crop.tobytes(), strict=True)
    assert sum(abs(a - b) for a, b in pairs) / len(crop.tobytes()) < 8


def test_a_resumed_build_ends_with_the_same_bytes(built, tmp_path):
    recipe, out = Recipe.read(write_small(tmp_path)), tmp_path / "set"
    build(recipe, out, processes=1)
    whole = digests(out)
    assert whole == digests(built)
    gone = [out / name for name in list(whole)[3:40:5] if name.endswith(".png")]
    kept = next(out / n for n in whole if n.endswith(".png") and out / n not in gone)
    for file in [*gone, out / "train" / "metadata.jsonl", out / "dataset.json"]:
        file.unlink()
    stamp = kept.stat().st_mtime_ns
    build(recipe, out, processes=2)
    assert digests(out) == whole
    assert kept.stat().st_mtime_ns == stamp


def test_a_killed_build_resumes_and_leaves_no_process(built, tmp_path):
    out = tmp_path / "set"
    recipe = write_small(tmp_path, count=4000)
    command = [sys.executable, "-m", "models_core", "data", "build", recipe, "--out", out]
    job = subprocess.Popen(
        [*command, "--processes", "2"],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: len(list(out.glob("stages/collect/images/0/*.png"))) >= 30)
    job.send_signal(signal.SIGKILL)
    job.wait()
    assert not (out / "dataset.json").exists()
    wait_until(lambda: not group_lives(job.pid))
    # The recipe's own folder, so the same build with fewer images picks up what is there.
    build(Recipe.read(recipe).with_count(40), out, processes=1)
    assert rows_of(out) == rows_of(built)


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(true, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_a_part_file_is_never_trusted(built, tmp_path):
    out, recipe = tmp_path / "set", Recipe.read(write_small(tmp_path))
    out.mkdir()
    (out / "recipe.sha256").write_text(recipe.digest)
    row = rows_of(built)["train"][0]
    for kind in ("whole", "crop"):
        (out / "train" / kind).mkdir(parents=True)
        (out / "train" / kind / f"{row['id']}.part").write_bytes(b"\x89PNG half a pict")
    build(recipe, out, processes=1)
    assert digests(out) == digests(built)
    assert not list(out.rglob("*.part"))


def test_duplicates_are_dropped(tmp_path):
    text = """
        name = "alike"
        style = "dylan"
        count = 6
        seed = "a"
        image_size = 16
        crop = [0, 0, 1]
        [groups.all]
        "one face" = { hairVariant = "plain", moodVariant = "happy", facialHairProbability = 0, \
hairColor = "#000000", skinColor = "#ffd6c0", backgroundColor = "#b6e3f4" }
    """
    (tmp_path / "alike.toml").write_text(text)
    summary = build(Recipe.read(tmp_path / "alike.toml"), tmp_path / "set", processes=1)
    assert summary["duplicates"] == 5
    assert sum(summary["counts"].values()) == 1
    assert sum(map(len, rows_of(tmp_path / "set").values())) == 1


def test_splits_never_move():
    ids = [f"toon-{i:06d}" for i in range(5000)]
    share = {split: sum(split_of(i) == split for i in ids) / len(ids) for split in SPLITS}
    assert share["validation"] == pytest.approx(0.04, abs=0.01)
    assert share["test"] == pytest.approx(0.12, abs=0.02)
    # Pinned: data sets in use depend on them.
    apart = {
        i: split_of(f"toon-{i:06d}") for i in range(20) if split_of(f"toon-{i:06d}") != "train"
    }
    assert apart == {3: "test", 8: "validation", 19: "test"}


def test_a_larger_build_extends_a_smaller_one(tmp_path):
    recipe, out = Recipe.read(write_small(tmp_path)), tmp_path / "set"
    build(recipe.with_count(10), out, processes=1)
    before = rows_of(out)
    build(recipe.with_count(20), out, processes=1)
    after = rows_of(out)
    for split in SPLITS:
        assert after[split][: len(before[split])] == before[split]
    with pytest.raises(BuildError, match="holds a larger set"):
        build(recipe.with_count(10), out, processes=1)
    assert rows_of(out) == after
    build(recipe.with_count(10), out, processes=1, redo=True)
    assert rows_of(out) == before


def test_another_recipe_s_folder_is_refused_untouched(built, tmp_path):
    file = write_small(tmp_path)
    file.write_text(file.read_text().replace("#f48fb1", "#f48fb2"))
    before = digests(built)
    with pytest.raises(BuildError, match="was begun from another recipe"):
        build(Recipe.read(file), built)
    assert digests(built) == before


def test_a_folder_of_other_pictures_is_left_alone(tmp_path):
    file = tmp_path / "set/train/whole/mine.png"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"mine")
    with pytest.raises(BuildError, match="holds pictures that no build made"):
        build(Recipe.read(write_small(tmp_path)), tmp_path / "set", processes=1, redo=True)
    assert [f for f in (tmp_path / "set").rglob("*") if f.is_file()] == [file]


def test_a_set_of_the_earlier_builder_is_taken_as_it_is(built, tmp_path):
    """It had no stages, and rows without a licence; trainings go on with it."""
    shutil.copytree(built, tmp_path / "set", ignore=shutil.ignore_patterns("stages"))
    before = digests(tmp_path / "set")
    summary = build(Recipe.read(write_small(tmp_path)), tmp_path / "set", processes=1)
    assert summary == json.loads((built / "dataset.json").read_text())
    assert digests(tmp_path / "set") == before
    assert not (tmp_path / "set" / "stages").exists()


def test_several_styles_in_one_set(tmp_path):
    (tmp_path / "two.toml").write_text(TWO_STYLES)
    recipe = Recipe.read(tmp_path / "two.toml").with_count(24)
    summary = build(recipe, tmp_path / "set", processes=1)
    rows = [row for rows in rows_of(tmp_path / "set").values() for row in rows]
    for row in rows:
        style = row["source"].removeprefix("dicebear/")
        assert row["id"].startswith(f"two-{style}-")
        assert row["tags"]["style"] == f"{style} style"
        assert row["crop"] == ([0.12, 0.02, 0.84] if style == "micah" else [0, 0, 1])
        assert ("hair colour" in row["tags"]) == (row["tags"].get("hair style") == "bob")
    assert [s["style"] for s in summary["sources"]] == ["micah", "dylan"]
    assert [s["creator"]["name"] for s in summary["sources"]] == ["Micah Lanier", "Natalia Spivak"]
    assert summary["counts"]["train"] > 10


def test_the_command_builds_and_a_faulty_recipe_changes_nothing(tmp_path, capsys):
    file = write_small(tmp_path)
    out = tmp_path / "set"
    arguments = ["data", "build", str(file), "--out", str(out), "--count", "5"]
    assert main([*arguments, "--processes", "1"]) == 0
    assert sum(map(len, rows_of(out).values())) == 5
    file.write_text("name = 3 4")
    assert main(["data", "build", str(file), "--out", str(tmp_path / "other")]) == 2
    assert "is not TOML" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_a_process_that_has_drawn_already_can_build(tmp_path):
    """In a process of its own, since a hang here must end with it."""
    recipe = write_small(tmp_path, 20)
    code = f"""
from pathlib import Path
from models_core.data.build import build
from models_core.data.dicebear import Drawing, Style, render, style_definition
from models_core.data.recipe import Recipe

if __name__ == "__main__":
    render(Style(style_definition("toon-head")), Drawing("a", {{}}, {{}}), 64)
    build(Recipe.read(Path({str(recipe)!r})), Path({str(tmp_path / "out")!r}), processes=2)
"""
    script = tmp_path / "draw_then_build.py"
    script.write_text(code)
    root = Path(__file__).parents[3]
    environment = os.environ | {"PYTHONPATH": str(root)}
    subprocess.run([sys.executable, str(script)], env=environment, timeout=60, check=True)
    assert len(list((tmp_path / "out").glob("*/crop/*.png"))) == 20
