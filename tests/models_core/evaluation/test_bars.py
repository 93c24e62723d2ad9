"""Bars are told from the table alone."""

from models_core.evaluation.bars import bars
from models_core.evaluation.recipe import WHOLE


def line(model, steps, conditioning="tags", **figures):
    return {
        "model": model,
        "steps": steps,
        "conditioning": conditioning,
        "benign_rate": 0.5,
        "two_sample_accuracy": 0.9,
        "frechet": 10.0,
        "precision": 0.5,
        "recall": 0.3,
        "tag_agreement": 0.95,
        "images_per_second": 1.0,
        **figures,
    }


OURS = line(
    *("stylediffuser", 10, WHOLE),
    benign_rate=0.81,
    frechet=4.0,
    recall=0.4,
    two_sample_accuracy=0.7,
    images_per_second=4.5,
)
GAN = line("stylegan2", None, benign_rate=0.69)
DIFFUSION = line("stable-diffusion-lora", 10, benign_rate=0.71)
SLOW = line("stable-diffusion-lora", 50)


def reached(*lines):
    return {bar.what: bar.reached for bar in bars(lines)}


def test_all_bars_are_told_where_all_rows_are_there():
    found = reached(GAN, DIFFUSION, SLOW, OURS)
    assert len(found) == 12
    assert [what for what, yes in found.items() if not yes] == [
        "benign rate 13 points over StyleGAN2's"  # 81 % against 69 %
    ]


def test_equal_is_not_better_but_is_no_worse():
    same = {"frechet": 4.0, "recall": 0.4, "precision": 0.5, "two_sample_accuracy": 0.7}
    found = reached({**GAN, **same}, {**DIFFUSION, **same}, {**SLOW, **same}, OURS)
    assert not found["Fréchet distance below StyleGAN2's"]
    assert not found["recall above StyleGAN2's"]
    assert not found["two-sample test nearer to 50 % than StyleGAN2's"]
    assert found["precision not below Stable Diffusion + LoRA's at 10 steps"]
    assert found["Fréchet distance not above Stable Diffusion + LoRA's at 50 steps"]


def test_a_two_sample_test_below_half_is_not_better_for_it():
    found = bars([GAN, {**OURS, "two_sample_accuracy": 0.05}])
    assert not next(bar for bar in found if bar.what.startswith("two-sample")).reached


def test_missing_rows_leave_their_bars_out():
    assert list(reached(OURS)) == ["benign rate at least 80%", "tag agreement at least 90%"]
    ablation = {**OURS, "conditioning": "tags + start"}
    assert bars([GAN, ablation]) == [], "an ablation is not held to them"
