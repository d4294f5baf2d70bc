"""Names of kinds."""

from __future__ import annotations

import pytest

from newbon_core.cli.nouns import NOUNS, UnknownNoun, resolve


@pytest.mark.parametrize("noun", NOUNS)
def test_plural_singular_short_and_upper_case_are_the_same(noun: str) -> None:
    singular, short = NOUNS[noun]
    assert {resolve(word) for word in (noun, singular, short, noun.upper())} == {noun}


@pytest.mark.parametrize(
    ("word", "meant"), [("servces", "services"), ("instnace", "instance"), ("node5", "node"), ("event", None)]
)
def test_a_misspelt_noun_suggests_the_nearest(word: str, meant: str | None) -> None:
    if meant is None:
        assert resolve(word) == "events"
        return
    with pytest.raises(UnknownNoun, match=f"did you mean {meant}"):
        resolve(word)


def test_a_noun_that_a_verb_does_not_take_lists_those_that_it_takes() -> None:
    with pytest.raises(UnknownNoun, match="expected one of services, nodes"):
        resolve("tok", ("services", "nodes"))
