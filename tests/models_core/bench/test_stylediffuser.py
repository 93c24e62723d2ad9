"""Measuring the pipeline, on a tiny one."""

import pytest

from models_core.bench.stylediffuser import (
    PARTS,
    cases,
    clocked,
    draw,
    prepare_drawing,
    prepare_overhead,
)
from tests.models_core.stylediffuser.conftest import make_pipeline


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    make_pipeline().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("options", [{}, {"contiguous": True}, {"lora": True}], ids=str)
def test_each_variant_draws(folder, options):
    assert prepare_drawing(batch=2, folder=folder, **options)() > 0


def test_the_parts_are_some_of_the_whole_and_all_of_them_are_clocked(folder):
    pipeline = make_pipeline()
    with clocked(pipeline) as spent:
        draw(pipeline, 1)
    assert spent[0] > 0
    assert not any(name in vars(getattr(pipeline, part)) for part, name in PARTS)
    whole, parts = prepare_overhead(folder=folder), prepare_overhead(True, folder)
    assert 0 < min(parts() for _ in range(3)) < min(whole() for _ in range(3))


def test_cases_are_named_apart_and_prepare_what_they_name():
    names = [case.name for case in cases()]
    assert len(names) == len(set(names)) == 3
    assert {case.prepare for case in cases()} == {prepare_drawing, prepare_overhead}
