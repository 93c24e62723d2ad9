"""Words about pictures, and Danbooru's syntax to ask for them:

1girl patchouli_knowledge rating:general -comic
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models_core.data.settings import RecipeError

# Other searches of the site; they ask for what a dump or a folder may not tell.
METATAGS = {"age", "date", "favcount", "filesize", "filetype", "height", "id", "limit", "md5"}
METATAGS |= {"mpixels", "order", "parent", "pool", "ratio", "score", "source", "status", "user"}
METATAGS |= {"width"}
RATINGS = {"general": "g", "sensitive": "s", "safe": "s", "questionable": "q", "explicit": "e"}


@dataclass(frozen=True)
class TagQuery:
    """All of `wanted`, none of `unwanted`; `ratings` are first letters, empty for any."""

    wanted: frozenset[str] = frozenset()
    unwanted: frozenset[str] = frozenset()
    ratings: frozenset[str] = frozenset()
    not_ratings: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str) -> TagQuery:
        """Read the site's syntax: words are all wanted, `-word` is not, `rating:g,s` is either.

        Before 2022 the site called its mildest rating *safe* (s); since then *general* (g), and
        s is *sensitive*. The dump decides which one is meant. RecipeError for what else the
        site's search could do.
        """
        wanted: set[str] = set()
        unwanted: set[str] = set()
        ratings: set[str] = set()
        not_ratings: set[str] = set()
        for term in text.lower().split():
            negated = term.startswith("-") and len(term) > 1
            word = term[1:] if negated else term
            head, colon, rest = word.partition(":")
            if colon and head == "rating":
                (not_ratings if negated else ratings).update(map(_rating, rest.split(",")))
            elif (colon and rest and head in METATAGS) or word.startswith("~") or "*" in word:
                raise RecipeError(
                    f"tags: {term!r} is not supported; use tags, -tags and rating:general"
                )
            else:
                (unwanted if negated else wanted).add(word)
        if both := wanted & unwanted:
            raise RecipeError(f"tags: {min(both)!r} is both wanted and unwanted")
        return cls(
            frozenset(wanted), frozenset(unwanted), frozenset(ratings), frozenset(not_ratings)
        )

    def matches(self, tags: Collection[str], rating: str = "") -> bool:
        """Do these tags (words with underscores) and this rating (any spelling) answer it?"""
        letter = rating[:1].lower()
        if self.ratings and letter not in self.ratings:
            return False
        if letter in self.not_ratings:
            return False
        return self.wanted.issubset(tags) and self.unwanted.isdisjoint(tags)


def _rating(word: str) -> str:
    letter = RATINGS.get(word, word)
    if letter not in ("g", "s", "q", "e"):
        raise RecipeError(f"tags: no rating {word!r}; there are {', '.join(RATINGS)}")
    return letter


def words_of(tags: Mapping[str, Any] | Sequence[str]) -> list[str]:
    """The words of a row's `tags`, in order: by group with one word or several, or a list."""
    values = tags.values() if isinstance(tags, Mapping) else tags
    return [word for value in values for word in ([value] if isinstance(value, str) else value)]
