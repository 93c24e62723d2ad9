from collections import Counter

import pytest

from models_core.releases.bundle import ReleaseError
from models_core.releases.sampling import sampling_parameters
from models_core.releases.traits import Traits

GROUPS = {
    "hair": {"pink hair": 0.2, "black hair": 0.3, "blue hair": 0.49995},
    "length": {"long hair": 0.5, "short hair": 0.5},
    "beard": {"full beard": 0.25},
}
RULES = [{"when": {"beard": ["full beard"]}, "then": {"length": ["short hair"]}}]

KNOWN = [
    ("black hair", "long hair"),
    ("blue hair", "short hair"),
    ("blue hair", "long hair"),
    ("blue hair", "short hair"),
]


def test_a_seed_has_its_tags_for_ever():
    """Written down: these must be the same on every machine and in every later version."""
    traits = Traits(GROUPS, RULES)
    assert [traits.draw(seed) for seed in (0, 1, 2, 2**52)] == KNOWN


def test_tags_come_as_often_as_in_training():
    traits = Traits(GROUPS)
    counts = Counter(tag for seed in range(4000) for tag in traits.draw(seed))
    for shares in GROUPS.values():
        for tag, share in shares.items():
            assert counts[tag] / 4000 == pytest.approx(share, abs=0.03)
    assert sum(counts[tag] for tag in GROUPS["hair"]) == 4000, "rounded shares are still whole"


def test_groups_are_drawn_independently():
    """A new group leaves the other groups' draws as they were."""
    more = Traits({"hat": {"red hat": 0.5}, **GROUPS})
    for seed in range(50):
        assert Traits(GROUPS).draw(seed) == tuple(t for t in more.draw(seed) if t != "red hat")


def test_asked_tags_are_given_and_the_rest_is_the_seeds():
    traits = Traits(GROUPS)
    for seed in range(20):
        free, asked = traits.draw(seed), traits.draw(seed, ["pink hair"])
        assert asked[0] == "pink hair"
        assert asked[1:] == free[1:]


def test_rules_hold():
    traits = Traits(GROUPS, RULES)
    drawn = [traits.draw(seed) for seed in range(500)]
    assert any("full beard" in tags for tags in drawn)
    assert not any({"full beard", "long hair"} <= set(tags) for tags in drawn)
    assert all("short hair" in traits.draw(seed, ["full beard"]) for seed in range(50))


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        (["green hair"], "unknown tag 'green hair'; this release knows: pink hair"),
        (["pink hair", "blue hair"], "both of 'hair'"),
        (["full beard", "long hair"], "does not go with"),
    ],
)
def test_impossible_wishes_are_refused(tags, reason):
    with pytest.raises(ReleaseError, match=reason):
        Traits(GROUPS, RULES).draw(1, tags)


@pytest.mark.parametrize(
    ("groups", "rules", "reason"),
    [
        ({"a": {"x": 0.8, "y": 0.4}}, [], "sum to"),
        ({"a": {"x": -0.1}}, [], "frequencies must be"),
        ({"a": {"x": 0.5}, "b": {"x": 0.5}}, [], "in two groups"),
        ({"a": {"x": 0.5}}, [{"when": {"b": ["x"]}, "then": {"a": ["x"]}}], "does not have"),
        ({"a": {"x": 0.5}}, ["a"], "a rule is"),
    ],
)
def test_a_vocabulary_that_cannot_be_drawn_from_is_refused(groups, rules, reason):
    with pytest.raises(ReleaseError, match=reason):
        Traits(groups, rules)


def test_parameters_are_the_releases_with_the_callers_over_them():
    defaults = {"steps": 10, "strength": 0.6, "rules": [], "size": 128}
    assert sampling_parameters(defaults, {"steps": 4}) == {
        "steps": 4,
        "strength": 0.6,
    }


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"stepps": 3}, "unknown parameter 'stepps'; known are steps"),
        ({"steps": 0}, "from 1 to 200"),
        ({"steps": 2.5}, "an integer"),
        ({"steps": True}, "an integer"),
        ({"strength": "much"}, "a number"),
        ({"strength": 0}, "nothing to enhance"),
        ({"strength": float("nan")}, "from 0.0 to 1.0"),
    ],
)
def test_bad_parameters_are_refused(asked, reason):
    with pytest.raises(ReleaseError, match=reason):
        sampling_parameters({"steps": 10}, asked)
