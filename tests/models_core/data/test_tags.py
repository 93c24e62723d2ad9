"""Asking for pictures in Danbooru's syntax."""

import pytest

from models_core.data.settings import RecipeError
from models_core.data.tags import TagQuery, words_of

TAGS = {"1girl", "patchouli_knowledge", "purple_hair", "hat"}


@pytest.mark.parametrize(
    ("query", "rating", "found"),
    [
        ("", "e", True),
        ("1girl patchouli_knowledge", "", True),
        ("1girl remilia_scarlet", "", False),
        ("1girl -hat", "", False),
        ("1girl -comic", "", True),
        ("1GIRL", "", True),
        ("rating:general", "g", True),
        ("rating:g", "general", True),
        ("rating:general", "s", False),
        ("rating:general", "", False),
        ("rating:g,s", "s", True),
        ("rating:safe", "s", True),
        ("-rating:explicit", "e", False),
        ("-rating:e,q 1girl", "g", True),
        ("-", "", False),
    ],
)
def test_a_query_finds_what_the_site_would(query, rating, found):
    assert TagQuery.parse(query).matches(TAGS, rating) is found


@pytest.mark.parametrize("tag", [":d", "re:zero", "fate/stay_night", ">:)"])
def test_tags_with_colons_are_tags(tag):
    assert TagQuery.parse(tag).matches({tag})
    assert not TagQuery.parse(f"-{tag}").matches({tag})


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("order:score", "'order:score' is not supported"),
        ("1girl ~hat", "'~hat' is not supported"),
        ("*_hair", "is not supported"),
        ("rating:nice", "no rating 'nice'"),
        ("hat -hat", "'hat' is both wanted and unwanted"),
    ],
)
def test_what_is_not_supported_is_refused(query, says):
    with pytest.raises(RecipeError, match="tags: ") as error:
        TagQuery.parse(query)
    assert says in str(error.value)


def test_words_of_all_three_shapes_of_tags():
    assert words_of({"hair": "pink hair", "tags": ["hat", "solo"]}) == ["pink hair", "hat", "solo"]
    assert words_of(["hat", "solo"]) == ["hat", "solo"]
    assert words_of({}) == []
