"""The command line as a person meets it."""

import subprocess
import sys

import pytest

from models_core.__main__ import main


def test_help_is_quick_and_loads_no_torch():
    code = (
        "import sys\nfrom models_core.__main__ import build_parser\n"
        "text = build_parser().format_help()\nassert 'release' in text and 'train' in text\n"
        "assert 'torch' not in sys.modules and 'onnxruntime' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_every_group_lists_its_members(capsys):
    for words in (["release", "--help"], ["train", "--help"], ["convert", "upscaler", "--help"]):
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert stop.value.code == 0
    assert "build" in capsys.readouterr().out


def test_an_error_is_one_line_that_says_what_to_do(tmp_path, capsys):
    assert main(["release", "verify", str(tmp_path)]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: ") and "has no release.json" in shown
    assert shown.count("\n") == 1


def test_traceback_shows_all(tmp_path):
    with pytest.raises(ValueError, match="has no"):
        main(["--traceback", "release", "verify", str(tmp_path)])


def test_converting_and_bundling_the_upscaler(tmp_path, capsys):
    assert main(["convert", "upscaler", str(tmp_path / "upscaler")]) == 0
    (tmp_path / "release.toml").write_text(
        f"""
        name = "up"
        title = "Upscaler alone"
        tags = {{}}
        params = {{}}
        licences = [{{ name = "BSD-3-Clause", of = "Real-ESRGAN" }}]
        components = {{ upscaler = "{tmp_path}/upscaler" }}
        """
    )
    out = str(tmp_path / "bundle")
    assert main(["release", "build", str(tmp_path / "release.toml"), out]) == 0
    assert main(["release", "verify", out]) == 0
    assert "Xintao Wang" in (tmp_path / "bundle/upscaler/LICENSE.txt").read_text()
    assert "3 files as they should be" in capsys.readouterr().out
