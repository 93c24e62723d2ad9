"""The whole pipeline on found pictures, good and bad."""

import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models_core.__main__ import main
from models_core.data.build import BuildError, build, stage_summaries
from models_core.data.dataset import ImageFolder
from models_core.data.recipe import Recipe, RecipeError
from models_core.data.stage import read_lines
from models_core.data.write import split_of
from tests.models_core.data.test_build import digests, rows_of
from tests.models_core.data.test_detectors import export, heads
from tests.models_core.data.test_picture import animation, cut_short

RECIPE = """
name = "found"
image_size = 48
[words]
"hair" = ["pink hair", "black hair"]
[[sources]]
kind = "folder"
path = "pictures"
licence = "CC BY 4.0"
creator = "Somebody"
[collect]
near_duplicates = 12
[super_resolve]
model = "none"
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """A recipe beside a folder: ten heads in scenes, copies of some, and what is no use."""
    folder = tmp_path_factory.mktemp("found")
    (folder / "pictures").mkdir()
    for i, head in enumerate(heads(10, 80)):
        scene = Image.new("RGB", (150, 100 + 10 * i), (20 * i, 250 - 20 * i, 120))
        scene.paste(head, (7 * i, 10))
        scene.save(folder / f"pictures/{i:02d}.png")
        words = f"solo, {'pink' if i % 2 else 'black'} hair, hat{i}"
        (folder / f"pictures/{i:02d}.txt").write_text(words)
    Image.open(folder / "pictures/00.png").save(folder / "pictures/copy.bmp")
    Image.open(folder / "pictures/01.png").resize((110, 80)).save(folder / "pictures/small.jpg")
    (folder / "pictures/moving.gif").write_bytes(animation("GIF"))
    (folder / "pictures/cut.jpg").write_bytes(cut_short("JPEG"))
    (folder / "pictures/page.png").write_bytes(b"<html></html>")
    Image.new("RGB", (1, 1)).save(folder / "pictures/dot.png")
    Image.new("RGB", (100, 100), "green").save(folder / "pictures/empty.png")
    (folder / "found.toml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def found(pictures) -> Path:
    """The built set. Look, do not touch."""
    build(Recipe.read(pictures / "found.toml"), pictures / "set", processes=1)
    return pictures / "set"


def all_rows(out: Path) -> list[dict]:
    return [row for rows in rows_of(out).values() for row in rows]


def test_what_is_no_use_is_counted_by_reason(found):
    summaries = stage_summaries(found)
    assert list(summaries) == ["collect", "crop", "super-resolve", "prune", "write"]
    assert summaries["collect"]["taken"] == 17
    assert summaries["collect"]["dropped"] == {
        "exact duplicate": 1,
        "near-duplicate": 1,
        "animated": 1,
        "truncated": 1,
        "not a picture": 1,
        "smaller than 32 pixels": 1,
    }
    assert summaries["crop"]["dropped"] == {"no face": 1}
    assert summaries["write"]["kept"] == 10
    dropped = (found / "stages/collect/dropped.jsonl").read_text()
    assert "moving.gif" in dropped
    for name in ("collect/sheet", "collect/dropped", "crop/dropped", "write/sheet"):
        assert Image.open(found / f"stages/{name}.jpg").height > 96
    data = json.loads((found / "dataset.json").read_text())
    assert data["duplicates"] == 2
    assert data["dropped"]["no face"] == 1


def test_rows_say_all_of_a_picture_and_pairs_share_an_id(found):
    rows = all_rows(found)
    assert len(rows) == 10
    for split, members in rows_of(found).items():
        for row in members:
            assert split_of(row["id"]) == split
            for key in ("file_name", "crop_file_name"):
                assert Image.open(found / split / row[key]).size == (48, 48)
                assert Path(row[key]).stem == row["id"]
            assert row["tags"]["hair"] in ("pink hair", "black hair")
            assert row["tags"]["tags"][0] == "solo"
            assert row["caption"].startswith("solo, ")
            assert (row["source"], row["licence"]) == ("pictures", "CC BY 4.0")
            assert row["flip"] is True
            left, top, side = row["crop"]
            assert min(left, top) >= 0 and max(left, top) + side <= 1
            assert 0.3 < side < 0.9
    (source,) = json.loads((found / "dataset.json").read_text())["sources"]
    assert source["licence"] == {"name": "CC BY 4.0"}
    assert source["creator"] == {"name": "Somebody"}


def test_only_the_recipe_s_words_are_labels(found):
    data = ImageFolder(found)
    assert data.vocabulary.tags == ["pink hair", "black hair"]
    assert data.labels.sum(1).tolist() == [1] * len(data)
    assert all("solo" in row["tags"]["tags"] for row in data.rows)


def test_without_words_the_most_common_are_labels(found, pictures, tmp_path):
    text = RECIPE.replace('[words]\n"hair" = ["pink hair", "black hair"]\n', "")
    shutil.copytree(pictures / "pictures", tmp_path / "pictures")
    (tmp_path / "found.toml").write_text(text)
    build(Recipe.read(tmp_path / "found.toml"), tmp_path / "set", processes=1)
    words = json.loads((tmp_path / "set/dataset.json").read_text())["tags"]["tags"]
    assert next(iter(words)) == "solo"
    assert words["solo"] == 1
    ids = [row["id"] for row in all_rows(tmp_path / "set")]
    assert ids == [row["id"] for row in all_rows(found)]  # wherever the pictures lie


def test_a_new_picture_is_added_and_the_others_stay(pictures, found, tmp_path):
    shutil.copytree(pictures / "pictures", tmp_path / "pictures", copy_function=shutil.copy2)
    (tmp_path / "found.toml").write_text(RECIPE)
    recipe = Recipe.read(tmp_path / "found.toml")
    build(recipe, tmp_path / "set", processes=1)
    before = {row["id"]: row for row in all_rows(tmp_path / "set")}
    scene = Image.new("RGB", (120, 120), "orange")
    scene.paste(heads(11, 90)[10], (20, 20))
    scene.save(tmp_path / "pictures/later.png")
    seen: list[tuple[str, int, int]] = []
    build(recipe, tmp_path / "set", processes=1, progress=lambda *said: seen.append(said))
    after = {row["id"]: row for row in all_rows(tmp_path / "set")}
    assert len(after) == 11
    assert {i: after[i] for i in before} == before
    # Only the new one was decoded, searched and resized.
    assert [said for said in seen if said[0] == "crop"] == [("crop", 12, 12)]


def test_a_changed_recipe_needs_redo_and_redoes_only_what_it_must(pictures, tmp_path):
    shutil.copytree(pictures / "pictures", tmp_path / "pictures", copy_function=shutil.copy2)
    (tmp_path / "found.toml").write_text(RECIPE)
    out = tmp_path / "set"
    build(Recipe.read(tmp_path / "found.toml"), out, processes=1)
    (tmp_path / "found.toml").write_text(RECIPE + "[crop]\nmargin = 1.2\n")
    changed = Recipe.read(tmp_path / "found.toml")
    before = digests(out)
    with pytest.raises(BuildError, match="--redo"):
        build(changed, out, processes=1)
    assert digests(out) == before
    seen = set()
    build(changed, out, processes=1, redo=True, progress=lambda stage, *_: seen.add(stage))
    assert seen == {"crop", "super-resolve", "prune", "write"}
    assert {row["crop"][2] < 0.6 for row in all_rows(out)} == {True}
    after = digests(out)
    assert all(after[name] == d for name, d in before.items() if "/whole/" in name)


def test_what_is_pruned_later_leaves_the_set(pictures, tmp_path):
    shutil.copytree(pictures / "pictures", tmp_path / "pictures", copy_function=shutil.copy2)
    (tmp_path / "found.toml").write_text(RECIPE)
    out = tmp_path / "set"
    build(Recipe.read(tmp_path / "found.toml"), out, processes=1)
    (tmp_path / "found.toml").write_text(RECIPE + "[prune]\nclusters = 2\n")
    build(Recipe.read(tmp_path / "found.toml"), out, processes=1, redo=True)
    summary = stage_summaries(out)["prune"]
    assert sum(summary["clusters"]) == 10
    assert summary["kept"] == summary["clusters"][0] < 10
    files = {file.stem for file in out.glob("*/crop/*.png")}
    assert files == {row["id"] for row in all_rows(out)}
    assert len(files) == summary["kept"]


def test_stages_can_be_run_up_to_one_and_shown(pictures, tmp_path, capsys):
    out = tmp_path / "set"
    recipe = str(pictures / "found.toml")
    arguments = ["data", "build", recipe, "--out", str(out), "--processes", "1"]
    assert main([*arguments, "--until", "crop"]) == 0
    said = capsys.readouterr().out
    assert "crop: 10 of 11 kept" in said
    assert "1 dropped: no face" in said
    assert f"look at {out}/stages/crop/sheet.jpg" in said
    assert not (out / "dataset.json").exists()
    assert not (out / "stages/super-resolve").exists()
    assert main(["data", "show", str(out)]) == 0
    assert capsys.readouterr().out == said
    assert main(arguments) == 0
    assert "write: 10 of 10 kept" in capsys.readouterr().out
    assert main(["data", "show", str(tmp_path)]) == 2
    assert "holds no build" in capsys.readouterr().err


def test_a_disk_that_fills_up_leaves_nothing_a_later_run_trusts(found, pictures, tmp_path):
    """The kernel refuses to let files grow beyond a size, after writing what fits."""
    out = tmp_path / "set"
    largest = max(file.stat().st_size for file in (found / "stages").rglob("*.png"))
    limit = largest - 1

    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    recipe = pictures / "found.toml"
    command = [sys.executable, "-m", "models_core", "data", "build", recipe, "--out", out]
    job = subprocess.run(
        [*command, "--processes", "1"], preexec_fn=full, capture_output=True, text=True, timeout=60
    )
    assert job.returncode == 2
    assert "error: [Errno 27] File too large" in job.stderr
    assert not list(out.rglob("*.part"))
    assert not (out / "dataset.json").exists()
    assert list(out.glob("stages/collect/images/0/*.png"))  # it had begun
    build(Recipe.read(recipe), out, processes=1)
    assert digests(out) == digests(found)


def test_a_set_that_leaves_nothing_says_where_to_look(tmp_path):
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (99, 99)).save(tmp_path / "pictures/black.png")
    (tmp_path / "found.toml").write_text(RECIPE)
    with pytest.raises(BuildError, match=r"no picture is left; .*data show"):
        build(Recipe.read(tmp_path / "found.toml"), tmp_path / "set", processes=1)
    assert not (tmp_path / "set/dataset.json").exists()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("[crop]\nmargins = 2", "[crop] has no key 'margins'; it has detector"),
        ("[crop]\nmargin = '2'", "[crop] margin = '2' is not of type float"),
        ("[crop]\nmargin = 0", "crop.margin = 0 is not from 0.1 to 10"),
        ("[crop]\nfaces = 'all'", "choose largest or single"),
        ("[crop]\ndetector = 'yolo.onnx'", "crop.detector: no file"),
        ("[prune]\nclusters = 2\nkeep = 3", "prune.keep = 3 is not from 1 to 2"),
        ("[prune]\nclusters = 2\nkeep = 0", "prune.keep = 0 is not from 1 to 2"),
        ("[prune]\nclusters = 2\nkeep = [1, 3]", "prune.keep = 3 is not from 1 to 2"),
        ("[prune]\nclusters = 2\nkeep = []", "[prune] keep = [] is not of type int or list[int]"),
        ("[prune]\nunsafe = 2", "prune.unsafe = 2 is not from 0 to 1"),
        ("[[sources]]\nkind = 'web'", "no kind of source 'web'; there are dicebear, folder"),
        ("[[sources]]\nkind = 'folder'\npath = 'pictures'", "pictures is a source twice"),
    ],
)
def test_a_faulty_recipe_is_refused_with_the_place(pictures, more, says):
    file = pictures / "faulty.toml"
    file.write_text(f"{RECIPE}{more}\n")
    with pytest.raises(RecipeError) as error:
        Recipe.read(file)
    assert says in str(error.value)
    assert str(file) in str(error.value)


def test_a_yolo_export_beside_the_recipe_is_the_detector(pictures, tmp_path):
    """It sees a face of a quarter of its 64-pixel canvas, in the middle of every picture."""
    export(tmp_path / "face.onnx", np.tile([32.0, 32, 16, 16, 0.9], (8, 1)).T[None])
    (tmp_path / "pictures").symlink_to(pictures / "pictures")
    more = '[crop]\ndetector = "face.onnx"\nmargin = 2\nshift = 0\n'
    (tmp_path / "yolo.toml").write_text(RECIPE + more)
    recipe = Recipe.read(tmp_path / "yolo.toml")
    summary = build(recipe, tmp_path / "set", processes=1, until="crop")
    assert (summary["taken"], summary["kept"]) == (11, 11)
    for record in read_lines(tmp_path / "set/stages/crop/records.jsonl"):
        longer = max(record["width"], record["height"])
        left, _, right, _ = record["crop_box"]
        assert right - left == pytest.approx(longer / 2, abs=1)
        # Half a pixel of the canvas is up to three of the picture.
        assert (left + right) / 2 == pytest.approx(record["width"] / 2, abs=3)


def test_one_post_from_two_dumps_is_taken_once(pictures, tmp_path):
    posts = [{"id": i, "rating": "g", "tag_string": f"solo hat{i}"} for i in range(3)]
    (tmp_path / "posts.json").write_text(json.dumps(posts))
    text = RECIPE.split("[[sources]]")[0]
    for name, scale in (("large", 1), ("small", 2)):
        (tmp_path / name).mkdir()
        for i in range(3):
            image = Image.open(pictures / f"pictures/{i:02d}.png")
            image.reduce(scale).save(tmp_path / name / f"{i}.png")
        text += f'[[sources]]\nkind = "danbooru-json"\nname = "{name}"\n'
        text += f'metadata = "posts.json"\nimages = "{name}"\ntags = "solo -hat1"\n'
    (tmp_path / "two.toml").write_text(text)
    recipe = Recipe.read(tmp_path / "two.toml")
    summary = build(recipe, tmp_path / "set", processes=1, until="collect")
    assert summary["dropped"] == {"same id as another": 2}
    records = read_lines(tmp_path / "set/stages/collect/records.jsonl")
    assert [(r["id"], r["width"]) for r in records] == [("danbooru-0", 150), ("danbooru-2", 150)]
    assert build(recipe, tmp_path / "set", processes=1, until="collect") == summary


def test_drawn_and_found_pictures_in_one_set(pictures, tmp_path):
    drawn = """
[[sources]]
style = "dylan"
count = 3
crop = [0, 0, 1]
groups.mood = { "happy mood" = { moodVariant = "happy" } }
"""
    (tmp_path / "mixed.toml").write_text('seed = "m"' + RECIPE + drawn)
    (tmp_path / "pictures").symlink_to(pictures / "pictures")
    build(Recipe.read(tmp_path / "mixed.toml").with_count(4), tmp_path / "set", processes=1)
    rows = all_rows(tmp_path / "set")
    assert sum(row["source"] == "dicebear/dylan" for row in rows) == 3
    assert sum(row["source"] == "pictures" for row in rows) == 4
    assert all(row.get("flip", False) == (row["source"] == "pictures") for row in rows)
    assert list(ImageFolder(tmp_path / "set").vocabulary.groups) == ["mood", "hair"]
