"""The linear-time expressions agree with Python's own wherever both know the sign."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from newbon_filter_constraints.patterns import Pattern, PatternError

ATOMS = st.sampled_from(["a", "b", "c", ".", "[ab]", "[^a]", "[a-c]", r"\d", r"\w", r"\.", "-", "1"])
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda two: f"({two[0]}|{two[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,}", "{0,2}"])).map(
            lambda two: f"({two[0]}){two[1]}"
        ),
    ),
    max_leaves=6,
)


@settings(max_examples=300)
@given(EXPRESSIONS, st.lists(st.text(alphabet="abc1.-", max_size=7), min_size=1, max_size=5))
def test_it_matches_what_python_matches(expression: str, texts: list[str]) -> None:
    pattern = Pattern(expression)
    for text in texts:
        assert pattern.matches(text) == (re.fullmatch(expression, text) is not None), (expression, text)


@pytest.mark.parametrize(
    ("expression", "position"),
    [
        ("a)", 1),
        ("(a", 0),
        ("[a", 0),
        ("*a", 0),
        ("a**", 2),
        ("a{x}", 1),
        ("a{3,1}", 1),
        ("a{9999}", 1),
        ("[b-a]", 1),
        ("\\", 1),
        (r"\b", 1),
        ("(?:a)", 1),
        ("a$", 1),
        ("(" * 60, 51),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(expression: str, position: int) -> None:
    with pytest.raises(PatternError) as caught:
        Pattern(expression)
    assert caught.value.position == position


def test_a_large_expression_is_refused() -> None:
    with pytest.raises(PatternError, match="too large"):
        Pattern("((a{20}){20}){20}")
