"""The backoff of replacements."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newbon_core.controllers.restarts import Again, backoff_s, next_restart
from newbon_core.model import InstanceState, Restart
from newbon_core.testing.builders import make_instance, make_status

NOW = 5000.0


def after(policy: str, state: InstanceState, ran_s: float = 1.0, failures: int = 0, **restart: float) -> Again | None:
    instance = make_instance(failures=failures)
    status = make_status(instance, state, started_at=100.0, finished_at=100.0 + ran_s)
    return next_restart(Restart(policy=policy, **restart), instance, status, NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("policy", "state", "replaced"),
    [
        ("always", InstanceState.FAILED, True),
        ("always", InstanceState.STOPPED, True),
        ("on-failure", InstanceState.FAILED, True),
        ("on-failure", InstanceState.STOPPED, False),
        ("never", InstanceState.FAILED, False),
        ("never", InstanceState.STOPPED, False),
    ],
)
def test_the_policy_says_what_is_replaced(policy: str, state: InstanceState, replaced: bool) -> None:
    assert (after(policy, state) is not None) == replaced


def test_the_wait_doubles_with_every_failure_in_a_row_up_to_the_cap() -> None:
    restart = Restart(backoff_s=1.0, factor=2.0, max_backoff_s=10.0)
    assert [backoff_s(restart, n) for n in range(7)] == [0, 1, 2, 4, 8, 10, 10]


def test_failures_in_a_row_are_counted_on() -> None:
    assert after("always", InstanceState.FAILED, failures=2, backoff_s=1.0) == Again(3, NOW + 4.0)


def test_one_that_ran_long_enough_starts_the_count_anew() -> None:
    assert after("always", InstanceState.FAILED, ran_s=300.0, failures=7) == Again(1, NOW + 1.0)


def test_one_that_never_started_counts_as_a_failure() -> None:
    instance = make_instance(failures=1)
    again = next_restart(Restart(), instance, make_status(instance, InstanceState.FAILED), NOW)
    assert again == Again(2, NOW + 2.0)


@given(st.integers(1, 10**9), st.floats(0.1, 10), st.floats(1, 10), st.floats(1, 1000))
def test_a_backoff_is_never_above_its_cap(failures: int, first: float, factor: float, cap: float) -> None:
    assert 0 <= backoff_s(Restart(backoff_s=first, factor=factor, max_backoff_s=cap), failures) <= cap
