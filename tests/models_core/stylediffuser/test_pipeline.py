"""The pipeline as its users see it: seeds in, pictures out."""

import numpy as np
import pytest

from models_core.stylediffuser.pipeline import (
    Aborted,
    StyleDiffuserPipeline,
    partial_timesteps,
)


def pixels(images):
    return np.stack([np.asarray(image) for image in images]).astype(int)


def test_one_picture_per_seed_of_the_enhancers_size(pipeline):
    drawn = pipeline([1, 2, 3], steps=2)
    assert [image.size for image in drawn.images] == [(32, 32)] * 3
    assert [image.size for image in drawn.prototypes] == [(16, 16)] * 3


def test_a_seed_gives_the_same_picture_alone_and_in_company(trained):
    alone = pipeline_pixels(trained, [7])
    company = pipeline_pixels(trained, [5, 6, 7, 8])
    assert (alone[0] == company[2]).all()
    assert (company[0] != company[1]).any()


def pipeline_pixels(pipeline, seeds, **kwargs):
    return pixels(pipeline(seeds, steps=3, **kwargs).images)


def test_larger_batches_change_nothing_but_rounding(trained):
    single = pipeline_pixels(trained, [1, 2, 3, 4], batch_size=1)
    together = pipeline_pixels(trained, [1, 2, 3, 4], batch_size=4)
    assert np.abs(single - together).max() <= 1


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_saved_and_loaded_it_draws_the_same_to_the_last_bit(trained, tmp_path, guidance):
    trained.save_pretrained(tmp_path)
    loaded = StyleDiffuserPipeline.from_pretrained(tmp_path, local_files_only=True)
    arguments = {"tags": [["pink hair"], ["smiling"]], "guidance": guidance}
    before = pipeline_pixels(trained, [1, 2], **arguments)
    assert (before == pipeline_pixels(loaded, [1, 2], **arguments)).all()


def test_a_saved_pipeline_holds_nothing_that_could_run(trained, tmp_path):
    trained.save_pretrained(tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".safetensors"}


@pytest.mark.parametrize(
    "off", [{"strength": 1.0}, {"adapter_scale": 0.0}, {"style_scale": 0.0}], ids=str
)
def test_each_conditioning_can_be_switched_off_alone(trained, off):
    on = pipeline_pixels(trained, [3])
    assert (on != pipeline_pixels(trained, [3], **off)).any()


def test_tags_reach_the_picture(trained):
    pink = pipeline_pixels(trained, [3], tags=[["pink hair"]])
    blue = pipeline_pixels(trained, [3], tags=[["blue hair"]])
    assert (pink != blue).any()


def test_the_callback_sees_every_step_and_can_stop(pipeline):
    seen = []
    pipeline([1, 2], steps=2, callback=lambda done, of: seen.append((done, of)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    with pytest.raises(Aborted, match="2 of 4"):
        pipeline([1, 2], steps=2, callback=lambda done, of: done == 2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"steps": 0}, "steps must be"),
        ({"strength": 0.0}, "strength must be"),
        ({"strength": 1.5}, "strength must be"),
        ({"tags": [[], []]}, "1 seeds but 2 rows"),
        ({"guidance": -1.0}, "guidance must not"),
    ],
    ids=str,
)
def test_bad_parameters_are_named(pipeline, arguments, said):
    with pytest.raises(ValueError, match=said):
        pipeline([1], **arguments)


def test_ten_steps_are_ten_evaluations_whatever_the_strength(pipeline):
    for strength in (0.3, 0.6, 1.0):
        steps = partial_timesteps(pipeline.scheduler, 10, strength)
        assert len(steps) == 10
        assert steps[0] == round(1000 * strength) - 1
