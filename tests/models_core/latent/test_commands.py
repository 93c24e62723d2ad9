"""The commands from end to end, and what they say to bad input."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from models_core.__main__ import main
from models_core.latent.encoder import Encoder
from models_core.latent.sources import read_ws, save_ws
from tests.models_core.latent.conftest import SIZE


def run(*arguments) -> int:
    return main([str(argument) for argument in arguments])


def test_a_mixing_grid_of_seeds_and_pictures(gan, encoder_folder, picture, tmp_path, capsys):
    out = tmp_path / "new" / "grid.png"
    command = ["sample", "mixing", gan, "--encoder", encoder_folder, "--out", out]
    command += ["--rows", "0-1", picture, "--columns", "4,7", "--layers", "coarse", "--scale", 2]
    assert run(*command) == 0
    sheet = Image.open(out)
    assert sheet.size == (3 * 2 * SIZE, 4 * 2 * SIZE)
    shown = sheet.crop((0, 6 * SIZE, 2 * SIZE, 8 * SIZE)).resize((SIZE, SIZE))
    assert np.abs(np.asarray(shown).astype(int) - np.asarray(Image.open(picture))).mean() < 8
    assert "3×2 mixes, layers [0, 1, 2]" in capsys.readouterr().out


def test_ways_in_w_and_z_and_to_a_neighbour(gan, tmp_path, capsys):
    way = ["sample", "interpolation", gan, "--strip", tmp_path / "s.png"]
    assert run(*way, "1,2", "--frames", 5, "--out", tmp_path / "w.webp", "--fps", 10) == 0
    assert Image.open(tmp_path / "w.webp").n_frames == 5
    assert Image.open(tmp_path / "s.png").size == (5 * SIZE, SIZE)
    z = ["1", "2-3", "--path", "z", "--frames", 4, "--loop", "--columns", 6]
    assert run(*way, *z) == 0
    assert Image.open(tmp_path / "s.png").size == (6 * SIZE, 2 * SIZE)
    capsys.readouterr()
    assert run(*way, "3", "--path", "near") == 0
    assert Image.open(tmp_path / "s.png").size == (7 * SIZE, SIZE)
    assert "away (alpha" in capsys.readouterr().out


def test_a_projection_is_found_again(gan, space, encoder_folder, picture, tmp_path, capsys):
    out = tmp_path / "projection"
    command = ["project", gan, picture, "--encoder", encoder_folder, "--out", out]
    assert run(*command, "--steps", 12) == 0
    assert sorted(p.name for p in out.iterdir()) == [
        "face.npz",
        "face.png",
        "report.json",
        "sheet.png",
    ]
    (row,) = json.loads((out / "report.json").read_text())
    assert row["optimized"] >= row["start"] - 0.5
    assert f"{row['start']:.2f} dB, optimised {row['optimized']:.2f} dB" in capsys.readouterr().out
    assert Image.open(out / "sheet.png").size == (SIZE, 3 * SIZE)
    drawn = space.draw(read_ws(out / "face.npz", space))[0]
    assert np.abs(drawn.astype(int) - np.asarray(Image.open(out / "face.png"))).max() <= 1
    strip = tmp_path / "s.png"
    way = ["sample", "interpolation", gan, out / "face.npz", "5", "--strip", strip]
    assert run(*way, "--frames", 3) == 0
    first = np.asarray(Image.open(strip))[:, :SIZE]
    assert np.abs(first.astype(int) - drawn).max() <= 1


def test_without_optimisation_it_is_the_encoder_s(gan, space, encoder_folder, picture, tmp_path):
    out = tmp_path / "p"
    assert run("project", gan, picture, "--encoder", encoder_folder, "--out", out) == 0
    ws = Encoder.from_folder(encoder_folder).encode([Image.open(picture)])
    assert (read_ws(out / "face.npz", space) - ws).abs().max() < 1e-4


def test_without_an_encoder_the_search_starts_at_the_mean(gan, picture, tmp_path):
    out = tmp_path / "p"
    assert run("project", gan, picture, "--steps", 12, "--lr", 0.1, "--out", out) == 0
    (row,) = json.loads((out / "report.json").read_text())
    assert row["optimized"] > row["start"]


def half_mask(tmp_path, size=SIZE):
    mask = Image.new("L", (size, size))
    mask.paste(255, (0, 0, size // 2, size))
    mask.save(tmp_path / "mask.png")
    return tmp_path / "mask.png"


def test_only_the_masked_region_is_replaced(gan, encoder_folder, picture, tmp_path):
    mask, out = half_mask(tmp_path), tmp_path / "region"
    command = ["sample", "region", gan, "--encoder", encoder_folder, "--base", picture]
    command += ["--style", "3-4", "--mask", mask, "--layers", "coarse,middle", "--out", out]
    assert run(*command) == 0
    base = np.asarray(Image.open(picture)).astype(int)
    results = [np.asarray(Image.open(out / name)).astype(int) for name in ("00.png", "01.png")]
    for result in results:
        assert np.array_equal(result[:, SIZE // 2 :], base[:, SIZE // 2 :])
        assert np.abs(result - base)[:, : SIZE // 2].mean() > 1
    assert not np.array_equal(*results)
    assert Image.open(out / "sheet.png").size == (4 * SIZE, 2 * SIZE)


def test_a_region_found_by_its_tags_read_by_the_style_encoder(gan, style_folder, tmp_path, data):
    out = tmp_path / "region"
    command = ["sample", "region", gan, "--base", "1", "--style", "2", "--region", "hair"]
    assert run(*command, "--style-encoder", style_folder, "--out", out) == 0
    mask = np.asarray(Image.open(out / "mask.png"))
    assert set(np.unique(mask)) <= {0, 255} and (mask > 0).mean() > 0
    assert Image.open(out / "00.png").size == (SIZE, SIZE)


def test_figures_of_an_encoder(gan, encoder_folder, data, tmp_path, capsys):
    out = tmp_path / "figures.json"
    command = ["evaluate", "encoder", gan, "--encoder", encoder_folder, "--data", data]
    assert run(*command, "--count", 2, "--steps", 3, "--out", out) == 0
    rows = json.loads(out.read_text())
    methods = ["mean w", "encoder", "optimised"]
    assert [row["method"] for row in rows] == methods * 2
    assert [row["pictures"] for row in rows] == ["own samples"] * 3 + ["real crops"] * 3
    assert rows[2]["psnr"] >= rows[1]["psnr"] - 0.5
    assert rows[0]["w"] > 0 and rows[3]["w"] is None
    assert Image.open(out.with_suffix(".png")).size == (2 * SIZE, 3 * SIZE)
    assert "real crops   optimised  n=2" in capsys.readouterr().out


def test_an_encoder_of_other_weights_is_warned_of(gan, encoder_folder, picture, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(encoder_folder, other)
    raw = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**raw, "generator": "0" * 16}))
    assert run("project", gan, picture, "--encoder", other, "--out", tmp_path / "p") == 0
    assert "trained for other weights" in capsys.readouterr().err


@pytest.fixture
def bad(tmp_path, picture, data):
    """Names → files that are not what they should be."""
    frames = [Image.new("RGB", (SIZE, SIZE), c) for c in ("red", "blue")]
    frames[0].save(tmp_path / "animated.webp", save_all=True, append_images=frames[1:])
    Image.new("RGB", (SIZE, SIZE + 1)).save(tmp_path / "oblong.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "small.png")
    Image.new("L", (SIZE, SIZE)).save(tmp_path / "black.png")
    half_mask(tmp_path, 2 * SIZE)
    (tmp_path / "bad.npz").write_bytes(b"no archive")
    np.savez(tmp_path / "shape.npz", ws=np.zeros((2, 2)))
    np.savez(tmp_path / "pickle.npz", ws=np.array([{"a": 1}]))
    np.savez_compressed(tmp_path / "bomb.npz", ws=np.zeros(2**20))
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("sample mixing GAN --rows face.png", "needs an encoder"),
        ("sample mixing GAN --rows none.png ENC", "none.png"),
        ("sample mixing GAN --rows oblong.png ENC", "must be a square crop"),
        ("sample mixing GAN --rows small.png ENC", "smaller than the generator's 32"),
        ("sample mixing GAN --rows animated.webp ENC", "animated"),
        ("sample mixing GAN --rows x ENC", "seeds are numbers"),
        ("sample mixing GAN --rows bad.npz", "bad.npz holds no w's"),
        ("sample mixing GAN --rows pickle.npz", "pickle.npz holds no w's"),
        ("sample mixing GAN --rows shape.npz", "w's of [2, 2], the generator's are [8, 12]"),
        ("sample mixing GAN --rows bomb.npz", "it unpacks to too much"),
        ("sample mixing GAN --tags green", "unknown tag 'green'"),
        ("sample mixing GAN --layers 3-20", "no layer 20"),
        ("sample mixing GAN --scale 0", "scale is a whole number"),
        ("sample mixing none", "holds no config.json"),
        ("sample interpolation GAN 1", "at least two pictures"),
        ("sample interpolation GAN 1 2 --frames 1", "2 to 2000 frames"),
        ("sample interpolation GAN face.png 2 --path z", "seeds are numbers"),
        ("sample interpolation GAN 1-2 --path near", "sought for one seed, not 2"),
        ("sample interpolation GAN 1-2 --out way.mkv", "an animation ends in"),
        ("sample region GAN --base 1 --style 2 --mask mask.png", "is 64×64, but the picture"),
        ("sample region GAN --base 1 --style 2 --mask black.png", "is black"),
        ("sample region GAN --base 1 --style 2 --region nose", "no tag group 'nose'"),
        ("sample region GAN --base 1-2 --style 2 --region hair", "one base is changed, not 2"),
        ("sample region PLAIN --base 1 --style 2 --region hair", "give a mask"),
        ("project GAN face.png", "give an encoder's folder"),
        ("project GAN face.png face.png ENC", "two pictures are called 'face'"),
        ("project GAN oblong.png ENC", "must be a square crop"),
        ("project GAN face.png ENC --judge none", "no features 'none'"),
        ("project GAN face.png --steps -1", "takes 1 to 100,000 steps"),
        ("project GAN face.png --encoder GAN", "'stylegan2' component"),
        ("project PLAIN face.png --steps 1 --tags-from GAN/config.json", "are not the generator's"),
        ("evaluate encoder GAN ENC --data DATA --count 999", "count is from 1"),
        ("evaluate encoder GAN --data DATA", "with --encoder"),
    ],
)
def test_bad_input_is_told_and_changes_nothing(
    arguments, says, bad, gan, plain_gan, data, encoder_folder, monkeypatch, capsys
):
    monkeypatch.chdir(bad)
    words = {"PLAIN": plain_gan, "GAN": gan, "DATA": data, "ENC": f"--encoder {encoder_folder}"}
    for word, value in words.items():
        arguments = arguments.replace(word, str(value))
    before = sorted(bad.rglob("*"))
    assert main(arguments.split()) == 2
    assert says in capsys.readouterr().err
    assert sorted(bad.rglob("*")) == before


def test_saved_w_s_are_whole(space, tmp_path):
    ws = space.from_seeds([5])
    save_ws(tmp_path / "a.npz", ws[0])
    assert np.array_equal(read_ws(tmp_path / "a.npz", space), ws)
    assert [file.name for file in tmp_path.iterdir()] == ["a.npz"]
