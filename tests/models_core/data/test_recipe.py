"""Recipes: what they say, and what is refused with which words."""

from pathlib import Path

import pytest

from models_core.data.dicebear import draw_options
from models_core.data.recipe import Recipe, RecipeError
from tests.models_core.data.conftest import SMALL, write_small

RECIPES = Path(__file__).parents[3] / "models_core" / "recipes"

TWO_STYLES = """
name = "two"
seed = "two"
image_size = 32

[groups."skin"]
"dark skin" = { skinColor = "#5c3829" }
"light skin" = { skinColor = "#f1c3a5" }
[groups."hair colour"]
"pink hair" = { hairColor = "#f48fb1" }

[[sources]]
style = "micah"
tag = "micah style"
count = 30
crop = [0.12, 0.02, 0.84]
rename = { skinColor = ["baseColor"], hairColor = ["hairColor", "facialHairColor"] }
[sources.groups."hair style"]
"bald" = { hairVariant = "mrClean", hides = ["hair colour"] }
"bob" = { also = { "hair length" = "neck-length hair" }, hairVariant = "pixie" }

[[sources]]
style = "dylan"
tag = "dylan style"
count = 10
crop = [0, 0, 1]
shared = ["skin"]
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "recipe.toml"
    file.write_text(text)
    return file


def small(before: str = "", after: str = "") -> str:
    text = SMALL.format(count=40)
    assert before in text
    return text.replace(before, after, 1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name = ", "is not TOML"),
        (small('style = "toon-head"'), "lacks the key 'style'"),
        (small("image_size = 32"), "lacks the key 'image_size'"),
        (small('"toon-head"', '"toon-hat"'), "no dicebear style 'toon-hat'"),
        (small("count = 40", "count = 0"), "count must be a number from 1"),
        (small("0.84]", "0.95]"), "leaves the drawing"),
        (small("weight = 2", "weight = -2"), "has weight -2"),
        (small("hairColor", "hairColour"), "no option 'hairColour'; it has ["),
        (small('"longStraight"', '"longCurly"'), "rearHairVariant has no 'longCurly'"),
        (small('{ hairColor = "#2c1b18" }', '"#2c1b18"'), "'black hair' must be a table"),
        (small('then = { "hair length"', 'then = { "hair"'), "a rule names 'hair': no such group"),
        (small('["short hair"]', '["shorn"]'), "a rule names 'hair length': no tag 'shorn'"),
        (small("when = {", "whenever = {"), "a rule needs one group in `when`"),
        (small('"full beard" = {', '"pink hair" = {').split("[[rules]]")[0], "is in two groups"),
        (TWO_STYLES.replace('shared = ["skin"]', 'shared = ["skim"]'), "no shared group 'skim'"),
        (TWO_STYLES.replace('"dylan"', '"micah"').replace('["skin"]', "[]"), "a source twice"),
        (TWO_STYLES.replace("rename = ", "named = "), "no option 'skinColor'"),
        (small().split('"pink hair"')[0] + "\n", "group 'hair colour' has no choices"),
    ],
)
def test_a_faulty_recipe_is_refused_with_the_place(tmp_path, text, says):
    with pytest.raises(RecipeError) as error:
        Recipe.read(write(tmp_path, text))
    assert says in str(error.value)
    assert str(tmp_path / "recipe.toml") in str(error.value)


def test_rules_hold_in_every_drawing_and_weights_show():
    recipe = Recipe.read(RECIPES / "toon-data.toml")
    (source,) = recipe.sources
    drawings = [draw_options(source.groups, source.rules, f"t-{i}").tags for i in range(600)]
    bearded = [tags for tags in drawings if tags["beard"]]
    assert 60 < len(bearded) < 200
    assert all(tags["hair length"] in ("short hair", "neck-length hair") for tags in bearded)
    assert all(tags["clothes"] != "dress" for tags in bearded)
    wide = sum(tags["eyes"] == "wide eyes" for tags in drawings)
    closed = sum(tags["eyes"] == "eyes closed" for tags in drawings)
    assert wide > 2 * closed > 0


def test_a_drawing_is_decided_by_its_seed():
    (source,) = Recipe.read(RECIPES / "toon-data.toml").sources
    one = draw_options(source.groups, source.rules, "toon-7")
    assert one == draw_options(source.groups, source.rules, "toon-7")
    assert one.tags["hair colour"] == "teal hair"
    assert one.options["hairColor"] == "#2aa39a"


def test_traits_imply_and_hide_words_of_other_groups(tmp_path):
    micah, dylan = Recipe.read(write(tmp_path, TWO_STYLES)).sources
    drawings = [draw_options(micah.groups, micah.rules, str(i)) for i in range(40)]
    seen = {
        (d.tags["hair style"], d.tags["hair colour"], d.tags.get("hair length")) for d in drawings
    }
    assert seen == {("bald", "", None), ("bob", "pink hair", "neck-length hair")}
    assert all(d.options["facialHairColor"] == "#f48fb1" for d in drawings)
    assert {d.options["baseColor"] for d in drawings} == {"#5c3829", "#f1c3a5"}
    assert draw_options(dylan.groups, dylan.rules, "1").tags.keys() == {"style", "skin"}


def test_the_vocabulary_is_every_source_s_in_order(tmp_path):
    recipe = Recipe.read(write(tmp_path, TWO_STYLES))
    assert recipe.vocabulary() == {
        "style": ["micah style", "dylan style"],
        "skin": ["dark skin", "light skin"],
        "hair colour": ["pink hair"],
        "hair style": ["bald", "bob"],
        "hair length": ["neck-length hair"],
    }


def test_words_mean_the_same_in_both_shipped_recipes():
    toon = Recipe.read(RECIPES / "toon-data.toml").sources[0]
    styles = Recipe.read(RECIPES / "styles-data.toml")
    assert len(styles.sources) == 7
    assert styles.count == 14000
    options = {g.name: [(c.tag, c.weight, c.options) for c in g.choices] for g in toon.groups}
    adventurer = {g.name: g for g in styles.sources[0].groups}
    for name in ("hair colour", "skin", "background"):
        shared = [(c.tag, c.weight, c.options) for c in adventurer[name].choices]
        assert shared == options[name]
    home = {tag: name for name, tags in styles.vocabulary().items() for tag in tags}
    for name, choices in options.items():
        assert all(home.get(tag, name) == name for tag, *_ in choices)


def test_a_smaller_count_is_spread_like_the_whole(tmp_path):
    recipe = Recipe.read(write(tmp_path, TWO_STYLES))
    assert [s.count for s in recipe.with_count(7).sources] == [5, 2]
    assert recipe.with_count(7).count == 7
    assert recipe.with_count(40) == recipe


def test_redrawn_has_other_names_and_another_digest(tmp_path):
    recipe = Recipe.read(write_small(tmp_path))
    other = recipe.redrawn("critic", "critic")
    assert (other.name, other.seed, other.sources) == ("critic", "critic", recipe.sources)
    assert other.digest != recipe.digest
