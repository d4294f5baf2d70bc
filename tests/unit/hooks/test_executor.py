"""What a filter or a score does wrong is attributed, counted and contained: filters fail closed, scores fail open."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from newbon_core.hooks import DomainTerm, PerNodeFilter, PerNodeScore, Rejection, Scores, Verdict, hookimpl
from newbon_core.hooks.account import Account, FailureBudget
from newbon_core.hooks.executor import WrongAnswer, checked_scores
from newbon_core.hooks.host import PluginHost
from newbon_core.testing.bench import Bench, make_request

REQUEST = make_request()
NODES = Bench().node("n0").node("n1").node("n2").nodes(REQUEST)


def a_filter(answer):
    """A filter that gives this answer, or raises it, or calls it."""
    return SimpleNamespace(newbon_filter_nodes=hookimpl(lambda request, nodes: _given(answer)))


def a_score(answer):
    return SimpleNamespace(newbon_score_nodes=hookimpl(lambda request, nodes: _given(answer)))


def _given(answer):
    if isinstance(answer, BaseException):
        raise answer
    return answer() if callable(answer) else answer


def at(now):
    return replace(REQUEST, now=now)


def passing():
    return np.ones(3, dtype=bool)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (ValueError("no such label"), "ValueError: no such label"),
        (ZeroDivisionError(), "ZeroDivisionError"),
        (SystemExit(3), "SystemExit: 3"),
        (True, "the answer is bool True; it must be a Verdict, an array of bool, or None"),
        ([True, True, True], "the answer is list"),
        (np.ones(2, dtype=bool), "the mask is an array of shape (2,) and type bool; it must be an array of 3 bool"),
        (np.ones((3, 1), dtype=bool), "the mask is an array of shape (3, 1)"),
        (np.ones(3), "the mask is an array of shape (3,) and type float64"),
        (Verdict(None, str), "the mask is NoneType None"),
        (Verdict(np.ones(3, dtype=bool), "because"), "Verdict.reason is str 'because'"),
    ],
)
def test_a_filter_that_fails_rejects_every_node_with_its_error(answer, expected):
    host = PluginHost.of(bad=a_filter(answer), good=a_filter(passing()))
    bad, good = host.filter_nodes(REQUEST, NODES)
    assert bad.failed
    assert not bad.verdict.passed.any()
    assert bad.verdict.reason(1).startswith(f"plugin bad failed: {expected}")
    (rejection,) = bad.verdict.summarise(np.array([True, False, True]))
    assert (rejection.category, rejection.nodes) == ("plugin bad failed", 2)
    assert good.verdict.passed.all()
    assert (host.plugin("bad").errors, host.plugin("good").errors) == (1, 0)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (RuntimeError("no"), "RuntimeError: no"),
        (1.0, "the answer is float 1.0; it must be Scores, an array of float, or None"),
        (np.ones(4), "the answer is an array of shape (4,) and type float64; it must be an array of 3 float"),
        (np.ones(3, dtype=bool), "type bool"),
        (np.array(["a", "b", "c"]), "type <U1"),
        (np.array([0.0, np.nan, 1.0]), "the answer has nan for node 1; every score must be finite"),
        (np.array([0.0, 1.0, np.inf]), "has inf for node 2"),
        (Scores(np.ones(3), bounds=(0.0, np.inf)), "Scores.bounds"),
        (Scores(np.ones(3), bounds=5.0), "Scores.bounds"),
        (
            Scores(np.array([0.0, 50.0, 1.0]), bounds=(0.0, 1.0)),
            "Scores.values go from 0 to 50, beyond Scores.bounds (0.0, 1.0); keep them within (np.clip), or say "
            "beyond=True",
        ),
        (Scores(np.array([0.5, 0.5, -0.1]), bounds=(1, 0)), "Scores.values go from -0.1 to 0.5, beyond"),
        (Scores(np.ones(3), domains=[]), "Scores.domains is list []; it must be a tuple of DomainTerm"),
        (Scores(np.ones(3), domains=("zone",)), "it must hold DomainTerm only"),
        (Scores(np.ones(3), domains=(DomainTerm(np.zeros(2, int), np.ones(1), 1.0),)), "DomainTerm.codes"),
        (Scores(np.ones(3), domains=(DomainTerm(np.array([0, 1, 2]), np.ones(2), 1.0),)), "goes from 0 to 2"),
        (Scores(np.ones(3), domains=(DomainTerm(np.array([0, -1, 0]), np.ones(2), 1.0),)), "goes from -1 to 0"),
        (Scores(np.ones(3), domains=(DomainTerm(np.zeros(3, int), np.array([np.nan]), 1.0),)), "must be finite"),
        (Scores(np.ones(3), domains=(DomainTerm(np.zeros(3, int), np.ones((1, 1)), 1.0),)), "DomainTerm.counts"),
    ],
)
def test_a_score_that_fails_is_left_out(answer, expected):
    host = PluginHost.of(bad=a_score(answer), good=a_score(np.arange(3.0)))
    assert [one.plugin for one in host.score_nodes(REQUEST, NODES)] == ["good"]
    assert expected in host.plugin("bad").last_error
    assert (host.plugin("bad").errors, host.plugin("good").errors) == (1, 0)


def test_integers_are_taken_as_floats_and_bounds_that_say_nothing_are_dropped():
    found = checked_scores(Scores(np.arange(3), bounds=(np.float64(2), 2)), 3)
    assert (found.values.dtype, found.bounds) == (np.float64, None)
    assert checked_scores(Scores(np.zeros(3), bounds=(9, np.int64(0))), 3).bounds == (9.0, 0.0)


def test_values_may_go_beyond_the_bounds_where_that_is_said_and_by_as_little_as_rounding_does():
    for scores in (
        Scores(np.array([0.0, 50.0, 1.0]), bounds=(0.0, 1.0), beyond=True),
        Scores(np.array([0.0, 1.0 + 1e-12, 1.0]), bounds=(0.0, 1.0)),
        Scores(np.array([3.0, 7.0, 5.0]), bounds=(7.0, 3.0)),
        Scores(np.array([3.0, 7.0, 5.0]), bounds=(1.0, 1.0)),
    ):
        assert checked_scores(scores, 3).beyond is scores.beyond
    assert checked_scores(Scores(np.zeros(0), bounds=(1.0, 2.0)), 0).values.shape == (0,)


def test_an_interrupt_from_the_keyboard_is_nobodys_fault():
    with pytest.raises(KeyboardInterrupt):
        PluginHost.of(a=a_filter(KeyboardInterrupt())).filter_nodes(REQUEST, NODES)


def test_a_reason_or_a_summary_that_fails_does_not_fail_the_explanation():
    def wrong_summary(mask):
        return [SimpleNamespace()]

    host = PluginHost.of(a=a_filter(Verdict(~passing(), lambda index: [][index], False, wrong_summary)))
    (answer,) = host.filter_nodes(REQUEST, NODES)
    assert answer.verdict.reason(0) == "plugin a failed: IndexError: list index out of range"
    (rejection,) = answer.verdict.summarise(passing())
    assert rejection == Rejection(
        category="plugin a failed", nodes=3, sentence=rejection.sentence, nearest=-1, gap=0.0, advice=rejection.advice
    )
    assert "it must give a sequence of Rejection" in rejection.sentence
    empty = PluginHost.of(a=a_filter(Verdict(~passing(), lambda index: "")))
    assert "it must give a sentence" in empty.filter_nodes(REQUEST, NODES)[0].verdict.reason(2)


class Picky(PerNodeFilter):
    """Refuses n0, chokes on the nodes that it is told to choke on."""

    def __init__(self, chokes=()):
        self.chokes = chokes

    def check(self, request, node):
        if node.name in self.chokes:
            raise LookupError(f"what is {node.name}?")
        return "name: n0 is ugly" if node.name == "n0" else None


def test_a_per_node_filter_is_adapted():
    for given_as in (Picky, Picky()):
        (answer,) = PluginHost.of(picky=given_as).filter_nodes(REQUEST, NODES)
        assert answer.verdict.passed.tolist() == [False, True, True]
        assert answer.verdict.reason(0) == "name: n0 is ugly"


def test_an_error_on_one_node_rejects_that_node_alone():
    host = PluginHost.of(picky=Picky(["n1"]))
    for _ in range(20):
        (answer,) = host.filter_nodes(REQUEST, NODES)
    assert answer.verdict.passed.tolist() == [False, False, True]
    assert answer.verdict.reason(1) == "plugin picky failed: LookupError: what is n1?"
    info = host.plugin("picky")
    assert (info.status, info.errors, info.last_error) == ("active", 20, "on node n1: LookupError: what is n1?")


def test_a_filter_that_fails_on_every_node_is_one_category_of_bounded_length():
    bench = Bench()
    for number in range(3000):
        bench.node(f"node-{number:04}")
    host = PluginHost.of(picky=Picky([f"node-{number:04}" for number in range(3000)]))
    placed = bench.place(host, REQUEST)
    assert placed.rejected == {"plugin picky failed": 3000}
    assert placed.summary() == (
        "no node fits: 3000 of 3000 plugin picky failed: on node node-0000: LookupError: what is node-0000?"
    )
    assert bench.explain(host, REQUEST).advice == ("put the plugin picky right, or disable it: [plugins] disabled",)


def test_a_filter_with_a_category_for_every_node_is_told_in_bounded_length():
    bench = Bench()
    for number in range(3000):
        bench.node(f"node-{number:04}")

    def verdict(nodes):
        return Verdict(np.zeros(len(nodes), dtype=bool), lambda index: f"no {nodes.names[index]}: because")

    host = PluginHost.of(f=SimpleNamespace(newbon_filter_nodes=hookimpl(verdict)))
    placed = bench.place(host, REQUEST)
    assert sum(placed.rejected.values()) == 3000
    assert len(placed.summary()) < 2000
    assert len("".join(bench.explain(host, REQUEST).advice)) < 2000


def test_the_other_reasons_of_a_per_node_filter_keep_their_categories():
    class Sorting(PerNodeFilter):
        def check(self, request, node):
            return None if node.name == "n2" else f"{'odd' if node.name == 'n1' else 'even'}: {node.name}"

    bench = Bench().node("n0").node("n1").node("n2").node("n3")
    (answer,) = PluginHost.of(f=Sorting).filter_nodes(REQUEST, bench.nodes(REQUEST))
    even, odd = answer.verdict.summarise(~answer.verdict.passed)
    assert (even.category, even.nodes, even.sentence, even.nearest) == ("even", 2, "n0", 0)
    assert (odd.category, odd.nodes, odd.sentence, odd.nearest) == ("odd", 1, "n1", 1)


def test_a_score_that_is_left_out_is_told_in_the_explanation_until_it_works_again():
    state = {"answer": RuntimeError("no")}
    host = PluginHost.of(s=a_score(lambda: _given(state["answer"])), budget=FailureBudget(errors=2))
    bench = Bench().node("n0").node("n1").node("n2")
    assert bench.explain(host, at(0)).notes == ("the score s was left out: RuntimeError: no",)
    (note,) = bench.explain(host, at(1)).notes
    assert note.startswith("the score s was left out: in quarantine after 2 errors")
    state["answer"] = np.zeros(3)
    assert bench.explain(host, at(100)).notes == ()


class Spelling(PerNodeFilter):
    def check(self, request, node):
        return f"cpu: {node.cpu_fre}"


def test_an_attribute_that_is_not_there_is_told_by_the_names_of_the_contract():
    host = PluginHost.of(
        node=Spelling, table=SimpleNamespace(newbon_filter_nodes=hookimpl(lambda nodes: nodes.memory_fre > 0))
    )
    host.filter_nodes(REQUEST, NODES)
    assert "'NodeView' object has no attribute 'cpu_fre'; did you mean 'cpu_free'?" in host.plugin("node").last_error
    assert host.plugin("table").last_error == (
        "AttributeError: 'NodeTable' object has no attribute 'memory_fre'; did you mean 'memory_free'?"
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "score() gave None on node n0; it must give a number"),
        ("5", "score() gave '5' on node n0; it must give a number"),
        (float("nan"), "score() gave nan on node n0; it must give a finite number"),
    ],
)
def test_a_per_node_score_that_gives_no_number_is_told_with_the_node(value, expected):
    class Odd(PerNodeScore):
        def score(self, request, node):
            return value

    host = PluginHost.of(odd=Odd)
    assert host.score_nodes(REQUEST, NODES) == []
    assert host.plugin("odd").last_error == expected


def test_a_check_that_gives_something_else_than_a_reason_is_an_error():
    class Wrong(PerNodeFilter):
        def check(self, request, node):
            return node.name != "n0"

    (answer,) = PluginHost.of(wrong=Wrong).filter_nodes(REQUEST, NODES)
    assert not answer.verdict.passed.any()
    assert "check() gave True; it must give None or a reason" in answer.verdict.reason(1)


def test_a_per_node_score_is_adapted_and_its_error_names_the_node():
    class Last(PerNodeScore):
        def score(self, request, node):
            return float(node.name[1:])

    class Odd(PerNodeScore):
        def score(self, request, node):
            return 1 / (int(node.name[1:]) - 1)

    host = PluginHost.of(last=Last, odd=Odd())
    (answer,) = host.score_nodes(REQUEST, NODES)
    assert answer.scores.values.tolist() == [0.0, 1.0, 2.0]
    assert host.plugin("odd").last_error == "on node n1: ZeroDivisionError: division by zero"


def test_a_filter_that_keeps_failing_is_quarantined_still_rejects_and_is_tried_again():
    answers = {"now": ValueError("sick")}
    calls = []

    def answer():
        calls.append(1)
        if isinstance(answers["now"], Exception):
            raise answers["now"]
        return answers["now"]

    host = PluginHost.of(f=a_filter(answer), budget=FailureBudget(errors=3, within_s=10, retry_after_s=30))
    for now in (0, 1, 2):
        host.filter_nodes(at(now), NODES)
    assert host.plugin("f").status == "quarantined"
    assert host.plugin("f").reason == (
        "in quarantine after 3 errors within 10 s, asked again every 30 s; the last error: ValueError: sick"
    )
    assert any("quarantined" in warning for warning in host.warnings)

    (resting,) = host.filter_nodes(at(20), NODES)
    assert len(calls) == 3
    assert not resting.verdict.passed.any()
    assert resting.verdict.reason(0).startswith("plugin f failed: in quarantine after 3 errors")

    host.filter_nodes(at(32), NODES)
    assert (len(calls), host.plugin("f").status) == (4, "quarantined")
    answers["now"] = passing()
    host.filter_nodes(at(40), NODES)
    assert len(calls) == 4
    (well,) = host.filter_nodes(at(62), NODES)
    assert well.verdict.passed.all()
    assert (host.plugin("f").status, host.plugin("f").reason) == ("active", "")


def test_a_score_in_quarantine_is_left_out_and_comes_back():
    state = {"answer": np.array([np.nan] * 3)}
    host = PluginHost.of(s=a_score(lambda: state["answer"]), budget=FailureBudget(errors=2))
    host.score_nodes(at(0), NODES)
    host.score_nodes(at(1), NODES)
    state["answer"] = np.zeros(3)
    assert host.score_nodes(at(2), NODES) == []
    assert host.plugin("s").calls == 2
    assert len(host.score_nodes(at(61), NODES)) == 1
    assert host.plugin("s").status == "active"


def test_every_call_is_counted_and_timed():
    ticks = iter(range(100))
    host = PluginHost.of(f=a_filter(passing()), s=a_score(np.zeros(3)), timer=lambda: float(next(ticks)))
    for _ in range(4):
        host.filter_nodes(REQUEST, NODES)
    host.score_nodes(REQUEST, NODES)
    assert (host.plugin("f").calls, host.plugin("f").seconds) == (4, 4.0)
    assert (host.plugin("s").calls, host.plugin("s").seconds) == (1, 1.0)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=40).map(sorted))
def test_quarantine_begins_exactly_when_the_budget_is_used_up(times):
    account = Account("p", FailureBudget(errors=5, within_s=10, retry_after_s=1000))
    for index, now in enumerate(times):
        account.failed("x", now)
        recent = [one for one in times[: index + 1] if one >= now - 10]
        if len(recent) >= 5:
            assert account.quarantined
            return
        assert not account.quarantined


ARRAYS = st.builds(
    lambda shape, dtype: np.zeros(shape, dtype=dtype),
    st.sampled_from([(0,), (2,), (3,), (4,), (3, 3), ()]),
    st.sampled_from([bool, float, int, "U1", object, "float32", "complex"]),
)
THINGS = ARRAYS | st.none() | st.integers() | st.text(max_size=3) | st.lists(st.booleans(), max_size=3)
VERDICTS = st.builds(Verdict, THINGS, THINGS, THINGS, THINGS)
SCORES = st.builds(Scores, THINGS, THINGS | st.tuples(st.floats(), st.floats()), THINGS | st.tuples(THINGS), THINGS)


@given(THINGS | VERDICTS | SCORES)
def test_whatever_a_plugin_answers_the_scheduler_gets_what_it_can_use(answer):
    host = PluginHost.of(f=a_filter(answer), s=a_score(answer))
    for one in host.filter_nodes(REQUEST, NODES):
        assert (one.verdict.passed.dtype, one.verdict.passed.shape) == (bool, (3,))
        assert one.verdict.reason(0)
        assert isinstance(one.verdict.stepwise, bool)
        assert one.verdict.summarise is None or sum(r.nodes for r in one.verdict.summarise(passing())) == 3
    for one in host.score_nodes(REQUEST, NODES):
        assert (one.scores.values.dtype, one.scores.values.shape) == (np.float64, (3,))
        assert isinstance(one.scores.domains, tuple)
        assert isinstance(one.scores.stepwise, bool)
        assert one.scores.bounds is None or one.scores.bounds[0] != one.scores.bounds[1]


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_nothing_else_passes_for_scores(answer):
    with pytest.raises(WrongAnswer):
        checked_scores(answer, 3)
