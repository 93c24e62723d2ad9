"""A run's folder, its random draws, and the average of weights."""

import pytest
import torch
from torch import nn

from models_core.training.run import Run, batch_indices, seed_step, update_average


@pytest.fixture
def folder_run(tmp_path) -> Run:
    (tmp_path / "recipe.toml").write_text("answer = 42\n")
    return Run(tmp_path / "run", tmp_path / "recipe.toml")


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
