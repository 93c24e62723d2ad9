"""The driver's words, in its own format; there is no GPU where these run."""

from __future__ import annotations

import os

import pytest

from generator_worker import gpu


@pytest.fixture
def driver(tmp_path, monkeypatch):
    def say(line: str, code: int = 0) -> None:
        program = tmp_path / "nvidia-smi"
        program.write_text(
            f"#!/bin/sh\necho \"$@\" > {tmp_path}/asked\necho '{line}'\nexit {code}\n"
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return say


def test_name_use_and_memory(driver, tmp_path):
    driver("NVIDIA L4, 87, 10240")
    assert gpu.look("cuda:1") == gpu.Gpu("NVIDIA L4", 0.87, 10 * 2**30)
    assert (tmp_path / "asked").read_text().endswith("-i 1\n")


def test_what_the_driver_does_not_know(driver):
    driver("GRID A100, 80GB, [N/A], [N/A]")
    assert gpu.look(None) == gpu.Gpu("GRID A100, 80GB", None, None)


def test_torch_counts_visible_devices_the_driver_all(driver, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-7f")
    driver("NVIDIA L4, 0, 0")
    gpu.look("cuda:1")
    assert (tmp_path / "asked").read_text().endswith("-i GPU-7f\n")


@pytest.mark.parametrize(("line", "code"), [("", 0), ("No devices were found", 6), ("x", 0)])
def test_a_driver_that_says_nothing_is_no_gpu(driver, line, code):
    driver(line, code)
    assert gpu.look(None) is None


def test_one_who_draws_on_the_cpu_does_not_ask(driver):
    driver("NVIDIA L4, 87, 10240")
    assert gpu.look("cpu") is None
