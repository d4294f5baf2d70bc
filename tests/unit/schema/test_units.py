"""Amounts as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newbon_core.schema import units


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("5s", 5_000),
        ("1m30s", 90_000),
        ("500ms", 500),
        ("2h", 7_200_000),
        ("1d", 86_400_000),
        ("1.5s", 1_500),
        ("0s", 0),
    ],
)
def test_durations_carry_their_unit(text, ms):
    assert units.parse_duration_ms(text) == ms


@pytest.mark.parametrize(
    "text", ["", "5", "1.5", "s", "5 s", "-5s", "5S", "30s1m", "1m1m", "5sec", "0.0001s", "1e3s", "٣s"]
)
def test_anything_else_is_no_duration_and_the_unit_is_named(text):
    with pytest.raises(ValueError, match="duration"):
        units.parse_duration_ms(text)


def test_a_number_without_unit_is_told_so():
    with pytest.raises(ValueError, match="the unit is missing"):
        units.parse_duration_ms("10")


@given(st.integers(0, 10**9))
def test_every_duration_is_read_back(ms):
    assert units.parse_duration_ms(units.format_duration(ms / 1000)) == ms


@pytest.mark.parametrize(
    ("ms", "text"), [(10_000, "10s"), (90_000, "1m30s"), (300_000, "5m"), (1_500, "1.5s"), (0, "0s")]
)
def test_durations_are_spelt_as_people_would(ms, text):
    assert units.format_duration(ms / 1000) == text


@pytest.mark.parametrize(
    ("value", "millis"), [(0.5, 500), (2, 2000), ("500m", 500), ("0.5", 500), ("1.25", 1250), (0.001, 1), (1.1, 1100)]
)
def test_cpu_is_cores_or_thousandths(value, millis):
    assert units.parse_cpu_millis(value) == millis


@pytest.mark.parametrize(
    "value",
    [0, 0.0, -1, "0", "0m", "-1", 0.0001, "0.5m", True, None, [], "half", "1 core", 1e9, float("nan"), float("inf")],
)
def test_no_cpu_less_than_nothing_or_finer_than_a_thousandth(value):
    with pytest.raises(ValueError, match="cores"):
        units.parse_cpu_millis(value)


@given(st.integers(1, units.MAX_CPU_MILLIS))
def test_every_cpu_is_read_back(millis):
    assert units.parse_cpu_millis(units.format_cpu(millis)) == millis


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        ("256MiB", 256 << 20),
        ("256Mi", 256 << 20),
        ("1GiB", 1 << 30),
        ("512M", 512_000_000),
        ("512MB", 512_000_000),
        ("1.5GiB", 3 << 29),
        ("1 GiB", 1 << 30),
        (1 << 20, 1 << 20),
        ("1048576", 1 << 20),
    ],
)
def test_memory_has_a_unit_or_is_bytes(value, amount):
    assert units.parse_memory_bytes(value) == amount


@pytest.mark.parametrize(
    "value", [0, -1, "0MiB", 256, "256", "1KiB", 1.5e9, True, None, {}, "lots", "256 megs", "1EiB", "9PiB"]
)
def test_impossible_memory_is_refused_with_the_units(value):
    with pytest.raises(ValueError, match="memory with its unit"):
        units.parse_memory_bytes(value)


@pytest.mark.parametrize(("text", "meant"), [("512m", "512MB"), ("256mib", "256MiB"), ("1gb", "1GB"), ("1gi", "1Gi")])
def test_a_unit_in_the_wrong_case_is_not_guessed_but_suggested(text, meant):
    with pytest.raises(ValueError, match=f"did you mean {meant}"):
        units.parse_memory_bytes(text)


def test_bytes_without_unit_that_were_meant_as_more_are_told_so():
    with pytest.raises(ValueError, match="this is a number of bytes"):
        units.parse_memory_bytes(256)


@given(st.integers(units.MIN_MEMORY_BYTES, units.MAX_MEMORY_BYTES))
def test_every_memory_is_read_back(amount):
    assert units.parse_memory_bytes(units.format_memory(amount)) == amount


@pytest.mark.parametrize(
    ("amount", "text"), [(1 << 30, "1GiB"), (512_000_000, "512MB"), (256 << 20, "256MiB"), (1_048_577, 1_048_577)]
)
def test_memory_is_spelt_as_people_would(amount, text):
    assert units.format_memory(amount) == text


def test_percentages():
    assert units.parse_percent("70%") == 70
    for wrong in ("70", 70, "101%", "-1%", None):
        with pytest.raises(ValueError, match="percentage"):
            units.parse_percent(wrong)
