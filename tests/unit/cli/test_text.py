"""Values as people read them, and laws of text made harmless."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from newbon_core.cli import text
from newbon_core.cli.output import json_text, yaml_text

DANGEROUS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
HOSTILE = st.text(st.one_of(st.characters(), st.sampled_from("\x1b[]2J31m\x07\x9b\u202e")), max_size=60)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0s"), (-3, "0s"), (59.9, "59s"), (192, "3m12s"), (7500, "2h05m"), (356400, "4d03h"), (35596800, "412d")],
)
def test_a_duration_shows_its_two_largest_units(seconds: float, shown: str) -> None:
    assert text.duration(seconds) == shown


@pytest.mark.parametrize(
    ("written", "seconds"), [("90", 90), ("90s", 90), ("5m", 300), ("1h30m", 5400), ("2d", 172800), ("0.5s", 0.5)]
)
def test_durations_are_read_as_people_write_them(written: str, seconds: float) -> None:
    assert text.parse_duration(written) == seconds


@pytest.mark.parametrize("written", ["", "soon", "5 m", "-5s", "5m5m", "m", "1s1m"])
def test_what_is_no_duration_is_refused_with_an_example(written: str) -> None:
    with pytest.raises(ValueError, match="write 90s, 5m"):
        text.parse_duration(written)


@given(st.integers(0, 10**9))
def test_a_shown_duration_of_up_to_two_units_is_read_back_without_growing(seconds: int) -> None:
    assert text.parse_duration(text.duration(seconds)) <= seconds


def test_sizes_are_in_mib_and_unknown_ones_are_a_dash() -> None:
    assert [text.mib(size) for size in (0, 400_000, 256 << 20, 64 << 30, None)] == [
        "0 MiB", "0.4 MiB", "256 MiB", "65536 MiB", "-",
    ]  # fmt: skip


def test_cores_lose_no_digit_that_matters() -> None:
    assert [text.cores(millis) for millis in (0, 250, 1000, 1500, 8000, 125)] == ["0", "0.25", "1", "1.5", "8", "0.125"]


def test_an_absent_time_is_a_dash() -> None:
    assert text.age(None, 5.0) == text.age(0, 5.0) == text.timestamp(None) == "-"


def test_labels_are_sorted_and_a_label_without_value_is_its_key() -> None:
    assert text.pairs({"b": "2", "a": "1", "c": ""}) == "a=1,b=2,c"


@given(HOSTILE)
def test_nothing_in_harmless_text_acts_on_a_terminal(hostile: str) -> None:
    assert not DANGEROUS.search(text.harmless(hostile))
    assert "\n" not in text.one_line(hostile)


@given(HOSTILE)
def test_making_harmless_twice_changes_nothing(hostile: str) -> None:
    once = text.harmless(hostile)
    assert text.harmless(once) == once


def test_escape_sequences_go_as_a_whole() -> None:
    assert text.harmless("a\x1b[31;1mred\x1b[0m \x1b]0;title\x07b\x9b2Jc\x1bPdcs\x1b\\d") == "ared bcd"


@settings(max_examples=40)
@given(st.recursive(st.none() | st.booleans() | HOSTILE, lambda each: st.lists(each) | st.dictionaries(HOSTILE, each)))
def test_json_is_exact_and_harmless(value: object) -> None:
    shown = json_text(value)
    assert json.loads(shown) == value
    assert not DANGEROUS.search(shown)


@given(st.text(st.one_of(st.characters(exclude_categories=("Cs",)), st.sampled_from("\x1b[2J\x9b\u202e")), max_size=40))
def test_yaml_is_exact_and_harmless(value: str) -> None:
    shown = yaml_text({"value": value})
    assert yaml.safe_load(shown) == {"value": value}
    assert not DANGEROUS.search(shown)
