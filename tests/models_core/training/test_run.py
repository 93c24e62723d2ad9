"""A run's folder, its random draws, the average of weights, and the loop that drives a training."""

import json
import os
import signal
import sys
import types

import pytest
import torch
from torch import nn

from models_core.training.run import (
    Run,
    batch_indices,
    replacing,
    seed_step,
    take_steps,
    update_average,
)

RECIPE = """
data = "data"
[training]
batch = 8
log_every = 2
save_every = 3
sample_every = 4
"""


@pytest.fixture
def folder_run(tmp_path) -> Run:
    (tmp_path / "recipe.toml").write_text("answer = 42\n")
    return Run(tmp_path / "run", tmp_path / "recipe.toml")


class Counting:
    """A training whose loss is its step, and which may be interrupted in one."""

    def __init__(self, run: Run, interrupted: int = -1) -> None:
        self.run, self.cfg, self.interrupted = run, run.recipe["training"], interrupted
        self.step = (run.load() or {"step": 0})["step"]
        self.saved: list[int] = []
        self.sampled: list[int] = []

    def take_step(self) -> dict[str, float]:
        if self.step == self.interrupted:
            os.kill(os.getpid(), signal.SIGTERM)
        self.step += 1
        return {"loss": float(self.step)}

    def state(self):
        return {"step": self.step}

    def train(self, last: int) -> None:
        take_steps(
            self,
            last,
            saved=lambda: self.saved.append(self.step),
            sample=lambda: self.sampled.append(self.step),
        )


@pytest.fixture
def recipe(tmp_path):
    file = tmp_path / "counting.toml"
    file.write_text(RECIPE)
    return file


def read_log(run: Run) -> list[dict]:
    return [json.loads(line) for line in (run.folder / "log.jsonl").read_text().splitlines()]


def test_a_checkpoint_is_whole_or_the_one_before(folder_run):
    assert folder_run.load() is None
    folder_run.save({"step": 1, "w": torch.ones(3)})
    folder_run.checkpoint.with_suffix(".part").write_bytes(b"cut off")
    assert folder_run.load()["step"] == 1
    folder_run.save({"step": 2, "w": torch.zeros(3)})
    assert folder_run.load()["step"] == 2
    assert not folder_run.checkpoint.with_suffix(".part").exists()


def test_a_failed_save_keeps_the_old_checkpoint(folder_run):
    folder_run.save({"step": 1})
    with pytest.raises(Exception, match="pickle"):
        folder_run.save({"step": lambda: 2})
    assert folder_run.load() == {"step": 1}


def test_a_run_started_from_its_own_recipe_keeps_it(folder_run):
    again = Run(folder_run.folder, folder_run.folder / "recipe.toml")
    assert again.recipe == {"answer": 42}


def test_a_step_s_draws_depend_on_seed_and_step_alone():
    def draws(seed: int, step: int) -> list[float]:
        order = seed_step(seed, step)
        return [*torch.rand(3).tolist(), *batch_indices(1000, 4, order).tolist()]

    torch.rand(17)
    assert draws(1, 5) == draws(1, 5)
    assert draws(1, 5) != draws(1, 6)
    assert draws(1, 5) != draws(2, 5)
    # The order of the data does not follow the noise.
    order = seed_step(1, 5)
    torch.rand(100)
    assert batch_indices(1000, 4, order).tolist() == draws(1, 5)[3:]


def test_the_average_follows_parameters_and_copies_buffers():
    average, model = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    model.weight.data.fill_(3.0)
    model.running_mean.fill_(7.0)
    update_average(average, model, decay=0.75)
    assert average.weight.tolist() == [1.5, 1.5]
    assert average.running_mean.tolist() == [7.0, 7.0]


def test_the_loop_logs_saves_and_samples_when_due(recipe, tmp_path):
    job = Counting(Run(tmp_path / "run", recipe))
    job.train(7)
    assert (job.saved, job.sampled) == ([3, 6, 7], [4, 7])
    log = read_log(job.run)
    assert [row["step"] for row in log] == [2, 4, 6, 7]
    assert [row["loss"] for row in log] == [1.5, 3.5, 5.5, 7.0]
    assert [row["kimg"] for row in log] == [0.016, 0.032, 0.048, 0.056]
    assert all(row["images_per_s"] > 0 and row["memory_mb"] > 10 for row in log)
    job.train(7)
    assert read_log(job.run) == log


def test_asked_to_stop_it_saves_first(recipe, tmp_path, capsys):
    job = Counting(Run(tmp_path / "run", recipe), interrupted=3)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        job.train(100)
    assert signal.getsignal(signal.SIGTERM) is before
    assert job.run.load() == {"step": 4}
    assert "saved at step 4" in capsys.readouterr().err
    assert job.saved == [3, 4]


def test_what_a_killed_process_logged_after_its_checkpoint_is_logged_once(recipe, tmp_path):
    job = Counting(Run(tmp_path / "run", recipe))
    job.train(6)
    whole = job.run.journal.file.read_text()
    with job.run.journal.file.open("a") as file:
        file.write('{"step": 8, "loss": 7.5}\n{"step": 10, "lo')
    again = Counting(Run(tmp_path / "run", recipe))
    assert again.step == 6
    assert again.run.journal.file.read_text() == whole
    again.train(8)
    assert [row["step"] for row in read_log(again.run)] == [2, 4, 6, 8]


def test_a_run_says_what_it_is_and_how_to_go_on(recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "train").mkdir(parents=True)
    metadata = tmp_path / "data" / "train" / "metadata.jsonl"
    metadata.write_text('{"id": "a"}\n')
    Counting(Run(tmp_path / "run", recipe)).train(3)
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    assert len(about["data"]["data"]) == 64
    assert about["starts"][0]["versions"]["torch"] == torch.__version__
    readme = (tmp_path / "run" / "README.txt").read_text()
    assert about["command"] in readme and about["data"]["data"] in readme
    assert "warning" not in capsys.readouterr().err

    metadata.write_text('{"id": "b"}\n')
    Counting(Run(tmp_path / "run", recipe)).train(6)
    assert "data has changed since the run began" in capsys.readouterr().err
    again = json.loads((tmp_path / "run" / "run.json").read_text())
    assert again["begun"] == about["begun"]
    assert [(row["step"], row["until"]) for row in again["starts"]] == [(0, 3), (3, 6)]


def test_tensorboard_has_the_same_values_where_it_is_installed(recipe, tmp_path, monkeypatch):
    written: list[tuple] = []

    class SummaryWriter:
        def __init__(self, folder, purge_step):
            written.append((folder, purge_step))

        def add_scalar(self, name, value, step):
            written.append((name, value, step))

        def flush(self):
            pass

        close = flush

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    Counting(Run(tmp_path / "run", recipe)).train(4)
    assert written[0] == (str(tmp_path / "run" / "tensorboard"), 1)
    assert ("loss", 1.5, 2) in written and ("loss", 3.5, 4) in written
    assert not any(name == "step" for name, *_ in written)


def test_without_tensorboard_the_log_is_enough(recipe, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    job = Counting(Run(tmp_path / "run", recipe))
    job.train(2)
    assert len(read_log(job.run)) == 1
    assert not (tmp_path / "run" / "tensorboard").exists()


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "export"
    with replacing(folder) as part:
        (part / "a").write_text("1")
    with pytest.raises(OSError), replacing(folder) as part:
        (part / "b").write_text("2")
        raise OSError("disk full")
    assert [file.name for file in folder.iterdir()] == ["a"]
    with replacing(folder) as part:
        (part / "c").write_text("3")
    assert [file.name for file in folder.iterdir()] == ["c"]
    assert list(tmp_path.iterdir()) == [folder]


def test_a_replacement_killed_between_its_renames_is_undone(tmp_path):
    folder = tmp_path / "export"
    folder.with_name("export.old").mkdir()
    (folder.with_name("export.old") / "a").write_text("1")
    with pytest.raises(OSError), replacing(folder):
        raise OSError("disk full")
    assert [file.name for file in folder.iterdir()] == ["a"]
