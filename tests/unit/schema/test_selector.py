"""Label selectors of lists."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from schema_builders import KEYS, WORDS

from newbon_core.schema.selector import Selector, SelectorError, Term, parse_selector

LABELS = {"tier": "web", "zone": "a", "example.org/disk": "ssd", "empty": ""}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "tier=web",
        "tier==web",
        "tier = web",
        "tier!=db",
        "absent!=x",
        "zone in (a,b)",
        "zone in ( a , b )",
        "zone not in (b,c)",
        "zone notin (b)",
        "absent not in (x)",
        "tier",
        "!absent",
        "! absent",
        "empty=",
        "empty in (,x)",
        "example.org/disk=ssd",
        "tier=web,zone in (a,b),!absent , zone!=c",
    ],
)
def test_what_selects(text):
    assert parse_selector(text).matches(LABELS)


@pytest.mark.parametrize(
    "text",
    [
        "tier=db",
        "tier!=web",
        "absent=x",
        "absent=",
        "zone in (b,c)",
        "absent in (x)",
        "zone not in (a)",
        "absent",
        "!tier",
        "tier=web,zone=b",
    ],
)
def test_what_does_not_select(text):
    assert not parse_selector(text).matches(LABELS)


@pytest.mark.parametrize(
    "text",
    [
        ",",
        "a,",
        ",a",
        "a,,b",
        "=x",
        "a=b=c",
        "a in",
        "a in x",
        "a in (b",
        "a in (b c)",
        "a b",
        "!",
        "a > 1",
        "-a=x",
        "a=-x",
        "a" * 70,
        "a=" + "b" * 70,
        "a=(b)",
        "a in (b),",
        "\x00",
        "a" * 5000,
        "!a=b",
    ],
)
def test_what_cannot_be_read_is_told_with_a_sentence(text):
    with pytest.raises(SelectorError, match="selector"):
        parse_selector(text)


def test_the_place_of_the_mistake_is_told():
    with pytest.raises(SelectorError, match=r"'zone in x' \(character 10\)"):
        parse_selector("tier=web,zone in x")


TERMS = st.one_of(
    st.builds(Term, KEYS, st.sampled_from(["exists", "not exists"])),
    st.builds(lambda k, o, v: Term(k, o, (v,)), KEYS, st.sampled_from(["=", "!="]), WORDS | st.just("")),
    st.builds(Term, KEYS, st.sampled_from(["in", "not in"]), st.lists(WORDS, min_size=1, max_size=3).map(tuple)),
)


@given(st.lists(TERMS, max_size=4).map(tuple), st.dictionaries(KEYS, WORDS, max_size=3))
def test_a_selector_is_read_back_from_its_text(terms, labels):
    selector = Selector(terms)
    assert parse_selector(str(selector)) == selector
    assert selector.matches(labels) == all(term.matches(labels) for term in terms)


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text):
    try:
        parse_selector(text)
    except SelectorError as error:
        assert str(error)  # noqa: PT017  either way is right, but never without a word
