"""A training in two processes that exchange gradients through gloo, as GPUs do through NCCL."""

import json
import os
import socket
import subprocess
import sys

import pytest
import torch

from models_core.training.processes import Processes
from tests.models_core.training.test_stylegan2 import ADA, assert_same


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def both(recipe, data, tmp_path):
    """What each of the two processes ended with, and the folder of their run."""
    text = (
        recipe.read_text().replace("batch = 4", "batch = 8").replace("kimg = 0.16", "kimg = 0.05")
    )
    text = text.replace("warmup_kimg = 0.06", "warmup_kimg = 0.008")
    recipe.write_text(text + ADA.format(heuristic="r_v"))
    shared = {
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "tests.models_core.training.two_processes"]
    command += [str(recipe), str(tmp_path / "run"), str(data)]
    jobs = [
        subprocess.Popen(
            command,
            env={**os.environ, **shared, "RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in ("0", "1")
    ]
    try:
        told = [job.communicate(timeout=200)[0] for job in jobs]
    finally:
        for job in jobs:
            job.kill()
    assert [job.returncode for job in jobs] == [0, 0], told
    ends = [torch.load(tmp_path / f"{name}.pt") for name in ("first", "second")]
    return (*ends, tmp_path / "run")


def test_processes_share_the_batch_and_keep_the_same_weights(both):
    first, second, folder = both
    assert first["n"] == second["n"] == 4
    assert first["batch"] == second["batch"] == 8
    # Descent by the mean of (1, 0) and (1, 3), and of nothing and 1.
    assert first["stepped"] == second["stepped"] == [-1.0, -1.5, -0.5]
    assert_same(first["state"], second["state"])
    assert first["state"]["step"] == 7
    assert first["state"]["strength"]["p"] != 0.3
    # One of them wrote the folder.
    saved = torch.load(folder / "checkpoint.pt")
    assert_same(saved, first["state"])
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in log] == list(range(1, 8))
    assert log[-1]["kimg"] == pytest.approx(0.056)


def test_a_batch_that_cannot_be_shared_is_told(monkeypatch):
    processes = Processes()
    assert processes.count == 1 and processes.share(7) == 7
    monkeypatch.setattr(Processes, "count", 2)
    with pytest.raises(ValueError, match="batch of 7 cannot be shared by 2 processes"):
        processes.share(7)
