"""When a node is lost, unready or back, and how fast its instances are given up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newbon_core.controllers.losses import Pace, is_paced, plan_losses
from newbon_core.controllers.nodes import judge_node
from newbon_core.controllers.settings import ControlSettings
from newbon_core.model import Node, NodeState
from newbon_core.testing.builders import make_node

NOW = 1000.0
LOST = make_node(state=NodeState.LOST, state_reason="not heard for 10 s")


def judge(node: Node, heard_at: float | None, errors: dict[str, str] | None = None, base: float = 0.0) -> Node:
    return judge_node(node, heard_at, errors, base, NOW, 10.0)


def test_a_node_not_heard_for_its_time_is_lost() -> None:
    assert judge(make_node(), NOW - 9.9, {}).state is NodeState.READY
    lost = judge(make_node(), NOW - 10.0, {})
    assert (lost.state, lost.state_reason, lost.state_since) == (NodeState.LOST, "not heard for 10 s", NOW)


def test_after_a_restart_of_the_server_a_node_gets_its_full_time_anew() -> None:
    assert judge(make_node(), None, base=NOW - 9).state is NodeState.READY
    assert judge(make_node(), None, base=NOW - 10).state is NodeState.LOST


def test_a_lost_node_is_back_when_it_is_heard_not_when_the_server_restarts() -> None:
    assert judge(LOST, None, base=NOW) is LOST
    assert judge(LOST, NOW - 1, {}).state is NodeState.READY
    assert judge(LOST, NOW - 10, {}) is LOST


def test_a_runtime_that_does_not_answer_makes_a_node_unready() -> None:
    unready = judge(make_node(), NOW, {"docker": "connection refused"})
    assert (unready.state, unready.state_reason) == (NodeState.UNREADY, "docker: connection refused")
    assert judge(unready, NOW, {"docker": "connection refused"}) is unready
    assert judge(unready, NOW, {}).state is NodeState.READY
    assert judge(unready, None, None, base=NOW) is unready


@pytest.mark.parametrize(("silent", "total", "paced"), [(1, 2, False), (2, 2, False), (2, 4, False), (3, 4, True)])
def test_more_than_half_of_a_zone_of_some_size_is_paced(silent: int, total: int, paced: bool) -> None:
    assert is_paced(silent, total, ControlSettings()) == paced


def test_an_unpaced_zone_is_given_up_at_once_and_a_paced_one_bit_by_bit() -> None:
    lost = {"a": [("n1", ["x-1", "x-2"])], "b": [("n2", ["y-1", "y-2", "y-3"]), ("n3", ["y-4"])]}
    given_up = plan_losses(lost, {"b": Pace(2.0, 2.0, NOW)}, NOW)
    assert given_up == {"n1": ["x-1", "x-2"], "n2": ["y-1", "y-2"]}


@given(st.lists(st.floats(0.0, 5.0), max_size=30), st.floats(0.1, 20))
def test_a_pace_grants_no_more_than_its_rate(gaps: list[float], rate: float) -> None:
    pace = Pace(rate, max(1.0, rate), 0.0)
    now = granted = 0.0
    for gap in gaps:
        now += gap
        granted += pace.take(1000, now)
    assert granted <= max(1.0, rate) + rate * now + 1e-6
