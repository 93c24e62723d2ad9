"""docs/stylegan2.md explains every key of a recipe, and no other."""

import re
from pathlib import Path

import pytest

from models_core.stylegan2.recipe import AugmentationTable, MetricsTable, Network, Recipe, Training

WHOLE = (Path(__file__).parents[3] / "docs/stylegan2.md").read_text(encoding="utf-8")
PAGE = WHOLE.partition("## Every key")[2]
TABLES = {"[network]": Network, "[training]": Training, "[augmentation]": AugmentationTable}


def documented(part: str) -> set[str]:
    """The keys in the first column of the table that follows."""
    rows = re.findall(r"^\| (`[^|]*) \|", part, flags=re.MULTILINE)
    return {key for row in rows for key in re.findall(r"`(\w+)`", row)}


@pytest.mark.parametrize(
    ("heading", "model"), [*TABLES.items(), ("[metrics]", MetricsTable)], ids=lambda v: str(v)
)
def test_every_key_of_a_table_is_explained(heading, model):
    part = PAGE.partition(f"`{heading}`:")[2].partition("`[")[0]
    assert documented(part) == set(model.model_fields)


def test_every_key_at_the_top_is_explained():
    tables = {"network", "training", "augmentation", "metrics"}
    assert documented(PAGE.partition("`[network]`:")[0]) == set(Recipe.model_fields) - tables


def test_the_least_recipe_of_the_page_is_one(tmp_path):
    block = WHOLE.partition("```toml\n")[2].partition("```")[0]
    file = tmp_path / "recipe.toml"
    file.write_text(block)
    assert Recipe.read(file).augmentation.mode == "ada"
