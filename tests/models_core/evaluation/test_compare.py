"""`evaluate compare` as a user runs it: the table, going on after a stop, what cannot be made."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from models_core.__main__ import main
from models_core.evaluation import compare as comparing
from models_core.evaluation import drawing
from models_core.evaluation.recipe import ROWS, chosen_rows

FIELDS = [
    *("model", "steps", "conditioning", "benign_rate", "benign_low", "benign_high"),
    *("two_sample_accuracy", "frechet", "kernel", "precision", "recall", "tag_agreement"),
    *("seconds_per_image", "images_per_second", "peak_mib"),
]
CHOSEN = "real,stylegan2,stable-diffusion-lora-10,stylediffuser-4"


def run(folder, *more: str, out: str = "docs", rows: str = CHOSEN) -> int:
    return main(
        [
            *("evaluate", "compare", str(folder / "recipe.toml"), "--run", str(folder / "run")),
            *("--out", str(folder / out), "--threads", "1", "--rows", rows, *more),
        ]
    )


class Inline:
    """A process that is none: importing torch anew for every row takes long. One test below has
    real ones."""

    exitcode = 0

    def __init__(self, target, args) -> None:
        self.start = lambda: target(*args)

    def join(self) -> None:
        pass


@pytest.fixture(scope="module")
def results(folder):
    """The comparison, run once."""
    with pytest.MonkeyPatch.context() as patch:
        context = SimpleNamespace(Process=Inline)
        patch.setattr(drawing.multiprocessing, "get_context", lambda method: context)
        patch.setattr("models_core.metrics.two_sample.FEWEST", 2)
        patch.setattr("models_core.metrics.tags.STEPS", 2)
        patch.setattr("models_core.metrics.tags.BATCH", 8)
        assert run(folder) == 0
    return json.loads((folder / "docs/results.json").read_text())


def test_the_table_has_its_columns_for_every_row(results):
    assert list(results) == ["dataset", "extractor", "n", "rows"]
    assert results["n"] == 8 and results["extractor"] == "efficientnet-lite0"
    assert results["dataset"] == "real-16"
    assert all(list(row) == FIELDS for row in results["rows"])
    assert [(row["model"], row["steps"], row["conditioning"]) for row in results["rows"]] == [
        ("real", None, None),
        ("stylegan2", None, "tags"),
        ("stable-diffusion-lora", 10, "tags"),
        ("stylediffuser", 4, "tags + start + adapter + style tokens"),
    ]


def test_figures_are_measured(results):
    real, gan, *_ = results["rows"]
    for row in results["rows"]:
        assert 0 <= row["benign_low"] <= row["benign_rate"] <= row["benign_high"] <= 1
        for share in ("two_sample_accuracy", "precision", "recall", "tag_agreement"):
            assert 0 <= row[share] <= 1
    assert real["seconds_per_image"] is None
    assert all(
        row["seconds_per_image"] > 0 and row["peak_mib"] > 100 for row in results["rows"][1:]
    )
    assert real["frechet"] < gan["frechet"], "real pictures are nearer to real ones"
    assert real["kernel"] < gan["kernel"] and gan["precision"] == 0


def test_the_page_shows_the_table_and_uncurated_pictures(folder, results):
    page = (folder / "docs/results.md").read_text()
    assert "python -m models_core evaluate compare" in page
    for title in ("StyleGAN2 alone", "Stable Diffusion + LoRA | 10", "the floor"):
        assert title in page
    assert "ψ = 0.7, enlarged to 32 pixels" in page
    for name in ("side-by-side", "stylegan2", "real", "stylediffuser-4"):
        assert f"(images/results-{name}.webp)" in page
    assert Image.open(folder / "docs/images/results-stylegan2.webp").size == (8 * 32, 32)
    assert Image.open(folder / "docs/images/results-side-by-side.webp").size == (8 * 32, 4 * 32)


def test_the_same_command_uses_what_is_there(folder, results, short, monkeypatch):
    def never(*_: object, **__: object) -> None:
        raise AssertionError("drawn or measured again")

    monkeypatch.setattr(drawing.multiprocessing, "get_context", never)
    monkeypatch.setattr("models_core.evaluation.measuring.two_sample_accuracy", never)
    assert run(folder, out="again") == 0
    assert json.loads((folder / "again/results.json").read_text()) == results


def test_lost_blocks_are_drawn_again_to_the_same_bits(folder, results, short):
    """In a process of its own, as all are outside these tests."""
    (row,) = (folder / "run/rows").glob("stylediffuser-4-*")
    (block,) = row.glob("*.npz")
    before = np.load(block)["images"]
    block.unlink()
    assert run(folder, out="again", rows="stylediffuser-4") == 0
    assert np.array_equal(np.load(block)["images"], before)


def test_without_its_folder_stable_diffusion_is_left_out_and_said_so(folder, results, short):
    recipe = (folder / "recipe.toml").read_text()
    (folder / "recipe.toml").write_text(recipe.replace("/pipeline", "/nothing"))
    try:
        assert run(folder, out="fewer") == 0
    finally:
        (folder / "recipe.toml").write_text(recipe)
    rows = json.loads((folder / "fewer/results.json").read_text())["rows"]
    assert [row["model"] for row in rows] == ["real", "stylegan2", "stylediffuser"]
    assert (
        "stable-diffusion-lora-10: no Stable Diffusion with LoRA"
        in (folder / "fewer/results.md").read_text()
    )


def test_real_pictures_too_few_for_n_are_refused(folder, results, short, capsys, tmp_path):
    shutil.copytree(folder / "real-16", tmp_path / "real")
    recipe = (folder / "recipe.toml").read_text().split("[real]")[0]
    (tmp_path / "recipe.toml").write_text(
        f'{recipe}[real]\ndata = "{tmp_path}/real"\nkind = "crop"\n'
    )
    assert run(tmp_path, "--n", "30") == 2
    assert "n = 30 needs 60" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("n = 8", "m = 8"), "unknown m"),
        (("n = 8", "n = 3"), "n must be 8 or more"),
        (('kind = "crop"', 'kind = "face"'), r"\[real\] needs"),
        (('tag_groups = ["hair colour"]', 'tag_groups = ["nose"]'), "the release has no 'nose'"),
        (("first_seed = 500", ""), "first_seed is missing"),
    ],
)
def test_a_wrong_recipe_is_refused_in_words(folder, capsys, tmp_path, change, message):
    text = (folder / "recipe.toml").read_text().replace(*change, 1)
    (tmp_path / "recipe.toml").write_text(text)
    assert run(tmp_path) == 2
    error = capsys.readouterr().err
    assert message.replace("\\", "") in error and not (tmp_path / "docs/results.md").exists()


def test_rows_are_chosen_by_name_or_by_model(capsys, folder):
    assert [row.name for row in chosen_rows("stylegan2, stylediffuser")] == [
        *("stylegan2", "stylediffuser-4", "stylediffuser-10", "stylediffuser-25"),
        *(
            "stylediffuser-10-start",
            "stylediffuser-10-start-adapter",
            "stylediffuser-10-start-style",
        ),
    ]
    assert len(chosen_rows(None)) == len({row.name for row in ROWS}) == 11
    assert run(folder, rows="stylegan3") == 2
    assert "no row 'stylegan3'" in capsys.readouterr().err


def test_quick_results_do_not_replace_the_real_ones(folder, monkeypatch):
    asked = {}

    def record(comparison, rows, run, out, **_: object) -> None:
        asked.update(n=comparison.n, out=out)

    monkeypatch.setattr(comparing, "compare", record)
    command = ["evaluate", "compare", str(folder / "recipe.toml"), "--run", str(folder / "run")]
    assert main([*command, "--quick"]) == 0
    assert asked == {"n": 8, "out": folder / "run/quick"}
