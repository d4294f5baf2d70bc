"""The conformance classes let sound plugins pass and catch each kind of unsound one."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from marshmallow import Schema, fields

from newbon_core.hooks import PerNodeScore, ProbeResult, ProbeType, Scores, Verdict, hookimpl
from newbon_core.model import Resources
from newbon_core.testing.plugins import (
    GIB,
    FilterConformance,
    ProviderConformance,
    ScoreConformance,
    make_request,
    mixed_bench,
)


def a_filter(answer):
    return SimpleNamespace(newbon_filter_nodes=hookimpl(answer))


def a_score(answer):
    return SimpleNamespace(newbon_score_nodes=hookimpl(answer))


def roomy(request, nodes):
    """A sound filter: by free memory, silent where none is asked for."""
    needed = request.container.resources.memory_bytes
    if not needed:
        return None
    return Verdict(
        nodes.memory_free >= needed, lambda index: f"memory: needs {needed}, {nodes.memory_free[index]} free"
    )


class Freest(PerNodeScore):
    """A sound score."""

    def score(self, request, node):
        return node.cpu_free / max(node.cpu_total, 1)


class ProbeOptions(Schema):
    path = fields.String(required=True)


def probe(target, options, timeout_s):
    return ProbeResult(healthy=True, message="", latency_s=0.0)


class TestASoundFilter(FilterConformance):
    plugin = a_filter(roomy)
    unconcerned = make_request()

    def requests(self):
        return [*super().requests(), make_request(resources=Resources(memory_bytes=2 * GIB))]


class TestASoundScore(ScoreConformance):
    plugin = Freest


class TestASoundProvider(ProviderConformance):
    plugin = SimpleNamespace(
        newbon_probes=hookimpl(lambda: [ProbeType(name="http", probe=probe, schema=ProbeOptions)]),
    )
    examples: ClassVar = {"http": {"path": "/healthz"}}


def laws(suite, plugin, **attributes):
    """The names of the laws that a plugin breaks."""
    case = type("Case", (suite,), {"plugin": plugin, **attributes})()
    broken = []
    for name in sorted(name for name in dir(case) if name.startswith("test_")):
        try:
            getattr(case, name)()
        except AssertionError:
            broken.append(name)
    return broken


def all_pass(nodes):
    return np.ones(len(nodes), dtype=bool)


def greedy(nodes):
    nodes.cpu_free[:] = 0
    return all_pass(nodes)


def by_position(nodes):
    return np.arange(len(nodes)) < 4


def of_eight(nodes):
    return np.ones(8, dtype=bool)


def silent_reason(nodes):
    return Verdict(~all_pass(nodes), lambda index: "no")


def short_summary(nodes):
    return Verdict(~all_pass(nodes), lambda index: "no: never", False, lambda mask: [])


@pytest.mark.parametrize(
    ("answer", "broken"),
    [
        (greedy, "test_it_changes_nothing_of_the_table"),
        (by_position, "test_the_order_of_nodes_changes_nothing"),
        (of_eight, "test_it_answers_for_no_node_at_all"),
        (lambda nodes: np.ones(len(nodes)), "test_it_answers_with_a_mask_over_the_nodes"),
        (silent_reason, "test_every_rejection_has_a_reason_with_its_category"),
        (short_summary, "test_the_summary_counts_every_rejected_node"),
        (all_pass, "test_it_is_silent_where_it_is_not_concerned"),
        (all_pass, "test_it_accepts_a_node_and_rejects_a_node"),
        (lambda nodes: ~all_pass(nodes), "test_it_accepts_a_node_and_rejects_a_node"),
        (lambda nodes: None, "test_it_accepts_a_node_and_rejects_a_node"),
    ],
)
def test_an_unsound_filter_is_caught(answer, broken):
    assert broken in laws(FilterConformance, a_filter(answer), unconcerned=make_request())


def test_a_filter_that_remembers_is_caught():
    calls = itertools.count()
    plugin = a_filter(lambda nodes: np.full(len(nodes), next(calls) % 2 == 0))
    assert "test_the_same_question_has_the_same_answer" in laws(FilterConformance, plugin)


@pytest.mark.parametrize(
    ("answer", "broken"),
    [
        (lambda nodes: np.full(len(nodes), np.nan), "test_it_answers_with_finite_numbers_over_the_nodes"),
        (lambda nodes: np.arange(len(nodes), dtype=float), "test_the_order_of_nodes_changes_nothing"),
        (lambda nodes: Scores(np.full(len(nodes), 7.0), bounds=(0.0, 1.0)), "test_it_gives_scores"),
        (lambda nodes: None, "test_it_gives_scores"),
        (lambda nodes: Scores(np.ones(8)), "test_it_answers_for_no_node_at_all"),
        (lambda nodes: np.random.default_rng().random(len(nodes)), "test_the_same_question_has_the_same_answer"),
    ],
)
def test_an_unsound_score_is_caught(answer, broken):
    assert broken in laws(ScoreConformance, a_score(answer))


def test_a_filter_may_say_that_it_is_one_sided():
    broken = laws(FilterConformance, a_filter(all_pass), one_sided=True)
    assert "test_it_accepts_a_node_and_rejects_a_node" not in broken


def test_the_laws_of_another_hook_are_not_kept_by_having_none():
    assert "test_it_implements_the_hook" in laws(FilterConformance, Freest)
    assert "test_it_implements_the_hook" in laws(ScoreConformance, a_filter(roomy))


class FilterThatReuses:
    """The same with a mask."""

    buffer = np.zeros(8, dtype=bool)

    @hookimpl
    def newbon_filter_nodes(self, nodes):
        answer = self.buffer[: len(nodes)]
        answer[:] = nodes.instance_count < 2
        return answer


class Reuses:
    """Keeps one array for ever and writes each answer into it."""

    buffer = np.zeros(8)

    @hookimpl
    def newbon_score_nodes(self, nodes):
        answer = self.buffer[: len(nodes)]
        answer[:] = nodes.instance_count
        return answer


def test_an_answer_that_changes_after_it_was_given_is_caught():
    assert "test_an_answer_stays_as_it_was_given" in laws(ScoreConformance, Reuses)
    assert "test_an_answer_stays_as_it_was_given" in laws(FilterConformance, FilterThatReuses)


def test_a_provider_whose_schema_refuses_its_own_example_is_caught():
    plugin = TestASoundProvider.plugin
    wrong = laws(ProviderConformance, plugin, examples={"http": {"pfad": "/"}})
    assert wrong == ["test_its_schemas_take_the_examples_and_refuse_unknown_options"]


def test_the_mixed_bench_has_what_plugins_look_at():
    nodes = mixed_bench().nodes(make_request())
    assert len(nodes) == 8
    assert nodes.host_port_used(8080, "tcp").sum() == 2
    assert nodes.count_of("web").sum() == 3
    assert nodes.failures_of("web").sum() == 3
    assert nodes.resource_free("gpu").sum() == 2
    assert not nodes.label("zone").present.all()
