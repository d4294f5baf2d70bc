"""For the tests of plugins: a bench of nodes, a strict host, and the laws that every plugin has to keep.

A plugin's test module subclasses a conformance class and gains its tests::

    class TestConformance(FilterConformance):
        plugin = newbon_filter_resources
        unconcerned = make_request()

The mixed bench and the mixed requests know nothing of a plugin's own labels and variables: override ``bench`` and
``requests`` so that a filter says both yes and no.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from marshmallow import Schema

from newbon_core.hooks.host import PluginHost
from newbon_core.hooks.options import load_options
from newbon_core.hooks.providers import ProbeType
from newbon_core.hooks.registry import PROVIDER_HOOKS
from newbon_core.hooks.settings import PluginSettings
from newbon_core.hooks.types import NodeTable, PlacementRequest, Scores, Verdict
from newbon_core.testing.bench import GIB, MIB, Bench, StrictHost, host_of, make_request, mixed_bench, mixed_requests

__all__ = [
    "GIB",
    "MIB",
    "Bench",
    "FilterConformance",
    "PluginSettings",
    "ProviderConformance",
    "ScoreConformance",
    "StrictHost",
    "host_of",
    "make_request",
    "mixed_bench",
    "mixed_requests",
]


class _Conformance(ABC):
    """What filters and scores share. Set ``plugin``; override ``requests`` or ``bench`` where the mixed ones miss what
    the plugin is about; ``unconcerned`` is a request about which it has nothing to say, if there is one (never of a
    PerNodeFilter or PerNodeScore, which answers every request)."""

    hook: ClassVar[str]
    plugin: ClassVar[object]
    options: ClassVar[Mapping[str, object]] = {}
    unconcerned: ClassVar[PlacementRequest | None] = None

    def requests(self) -> Sequence[PlacementRequest]:
        """The requests to try."""
        return mixed_requests()

    def bench(self) -> Bench:
        """The fleet to try them on."""
        return mixed_bench()

    def host(self) -> PluginHost:
        """A strict host of the plugin alone."""
        tables = {"mine": self.options} if self.options else {}
        return host_of(PluginSettings(enabled=("mine",), tables=tables), mine=type(self).plugin)

    def test_it_becomes_active(self) -> None:
        assert self.host().plugin("mine").status == "active"

    def test_it_implements_the_hook(self) -> None:
        hooks = self.host().plugin("mine").hooks
        assert self.hook in hooks, f"the plugin has no {self.hook}, only {', '.join(hooks)}: these laws are of another"

    def test_it_refuses_an_unknown_option(self) -> None:
        settings = PluginSettings(tables={"mine": {**self.options, "no_such_option": 1}})
        info = PluginHost.of(settings, mine=type(self).plugin).plugin("mine")
        assert info.status == "failed"
        assert "no_such_option" in info.reason

    def test_the_same_question_has_the_same_answer(self) -> None:
        host = self.host()
        first = [self._by_name(host, request, self.bench()) for request in self.requests()]
        again = [self._by_name(host, request, self.bench()) for request in reversed(self.requests())]
        assert first == again[::-1]

    def test_the_order_of_nodes_changes_nothing(self) -> None:
        host = self.host()
        for request in self.requests():
            turned = self.bench().reversed()
            assert self._by_name(host, request, self.bench()) == self._by_name(host, request, turned)

    def test_it_changes_nothing_of_the_table(self) -> None:
        host = self.host()
        for request in self.requests():
            nodes = self.bench().nodes(request)
            before = _columns(nodes, request)
            self.ask(host, request, nodes)
            for name, column in _columns(nodes, request).items():
                np.testing.assert_array_equal(column, before[name], err_msg=f"the plugin changed the column {name}")

    def test_it_is_silent_where_it_is_not_concerned(self) -> None:
        if self.unconcerned is not None:
            assert self.ask(self.host(), self.unconcerned, self.bench().nodes(self.unconcerned)) is None

    @abstractmethod
    def ask(self, host: PluginHost, request: PlacementRequest, nodes: NodeTable) -> object:
        """The plugin's answer, None where it is not concerned; an error of the plugin fails the test."""

    @abstractmethod
    def _by_name(self, host: PluginHost, request: PlacementRequest, bench: Bench) -> object:
        """The answer in a form that does not depend on the order of nodes."""


class FilterConformance(_Conformance):
    """The laws of ``newbon_filter_nodes``.

    ``one_sided = True`` says that the filter need not both accept and reject a node of the bench.
    """

    hook = "newbon_filter_nodes"
    one_sided: ClassVar[bool] = False

    def ask(self, host: PluginHost, request: PlacementRequest, nodes: NodeTable) -> Verdict | None:
        """The plugin's verdict; an error of the plugin fails the test."""
        answers = host.filter_nodes(request, nodes)
        info = host.plugin("mine")
        assert not info.errors, f"the filter failed: {info.last_error}"
        return answers[0].verdict if answers else None

    def test_it_answers_with_a_mask_over_the_nodes(self) -> None:
        host = self.host()
        for request in self.requests():
            for added in (0, 1, 3):
                self.ask(host, request, self.bench().nodes(request, added))

    def test_it_answers_for_no_node_at_all(self) -> None:
        host = self.host()
        for request in self.requests():
            self.ask(host, request, Bench().nodes(request))

    def test_it_accepts_a_node_and_rejects_a_node(self) -> None:
        """Otherwise the other laws are kept by saying nothing at all."""
        host = self.host()
        said: set[bool] = set()
        for request in self.requests():
            verdict = self.ask(host, request, self.bench().nodes(request))
            if verdict is not None:
                said |= set(verdict.passed.tolist())
        missing = " and ".join(word for answer, word in ((True, "accepted"), (False, "rejected")) if answer not in said)
        assert self.one_sided or not missing, (
            f"no node was ever {missing}: override bench() and requests() so that the filter says both yes and no, "
            "or set one_sided = True"
        )

    def test_every_rejection_has_a_reason_with_its_category(self) -> None:
        host = self.host()
        for request in self.requests():
            verdict = self.ask(host, request, self.bench().nodes(request))
            if verdict is None:
                continue
            for index in np.flatnonzero(~verdict.passed):
                category, _, text = verdict.reason(int(index)).partition(": ")
                assert category, "the reason must start with its category and a colon"
                assert text, f"after {category!r} there must be a colon and a sentence"
        assert not host.plugin("mine").errors, host.plugin("mine").last_error

    def test_the_summary_counts_every_rejected_node(self) -> None:
        host = self.host()
        for request in self.requests():
            verdict = self.ask(host, request, self.bench().nodes(request))
            if verdict is None or verdict.summarise is None:
                continue
            rejections = verdict.summarise(~verdict.passed)
            assert sum(rejection.nodes for rejection in rejections) >= np.count_nonzero(~verdict.passed)
        assert not host.plugin("mine").errors, host.plugin("mine").last_error

    def test_an_answer_stays_as_it_was_given(self) -> None:
        host = self.host()
        for request in self.requests():
            verdict = self.ask(host, request, self.bench().nodes(request))
            given = None if verdict is None else verdict.passed.copy()
            self.ask(host, request, self.bench().nodes(request, added=3))
            if verdict is not None and given is not None:
                np.testing.assert_array_equal(verdict.passed, given, err_msg="a later question changed this answer")

    def _by_name(self, host: PluginHost, request: PlacementRequest, bench: Bench) -> set[str] | None:
        nodes = bench.nodes(request)
        verdict = self.ask(host, request, nodes)
        return (
            None
            if verdict is None
            else {name for name, passed in zip(nodes.names, verdict.passed, strict=True) if passed}
        )


class ScoreConformance(_Conformance):
    """The laws of ``newbon_score_nodes``."""

    hook = "newbon_score_nodes"

    def ask(self, host: PluginHost, request: PlacementRequest, nodes: NodeTable) -> Scores | None:
        """The plugin's scores; an error of the plugin fails the test."""
        answers = host.score_nodes(request, nodes)
        info = host.plugin("mine")
        assert not info.errors, f"the score failed: {info.last_error}"
        return answers[0].scores if answers else None

    def test_it_gives_scores(self) -> None:
        """Otherwise the other laws are kept by saying nothing at all."""
        host = self.host()
        given = [self.ask(host, request, self.bench().nodes(request)) for request in self.requests()]
        assert any(scores is not None for scores in given), (
            "no request was given a score: override bench() and requests() so that one is"
        )

    def test_it_answers_with_finite_numbers_over_the_nodes(self) -> None:
        host = self.host()
        for request in self.requests():
            for added in (0, 1, 3):
                self.ask(host, request, self.bench().nodes(request, added))

    def test_it_answers_for_no_node_at_all(self) -> None:
        host = self.host()
        for request in self.requests():
            self.ask(host, request, Bench().nodes(request))

    def test_an_answer_stays_as_it_was_given(self) -> None:
        host = self.host()
        for request in self.requests():
            scores = self.ask(host, request, self.bench().nodes(request))
            given = None if scores is None else scores.values.copy()
            self.ask(host, request, self.bench().nodes(request, added=3))
            if scores is not None and given is not None:
                np.testing.assert_array_equal(scores.values, given, err_msg="a later question changed this answer")

    def _by_name(self, host: PluginHost, request: PlacementRequest, bench: Bench) -> dict[str, float] | None:
        nodes = bench.nodes(request)
        scores = self.ask(host, request, nodes)
        if scores is None:
            return None
        total = scores.values.copy()
        for term in scores.domains:
            total -= term.weight * term.counts[term.codes]
        return {name: round(float(value), 9) for name, value in zip(nodes.names, total, strict=True)}


class ProviderConformance:
    """The laws of provider hooks. ``examples`` maps a provider's name to options that its schema must take."""

    plugin: ClassVar[object]
    options: ClassVar[Mapping[str, object]] = {}
    examples: ClassVar[Mapping[str, Mapping[str, object]]] = {}

    def host(self) -> PluginHost:
        """A strict host of the plugin alone."""
        tables = {"mine": self.options} if self.options else {}
        return host_of(PluginSettings(enabled=("mine",), tables=tables), mine=type(self).plugin)

    def provided(self) -> dict[str, object]:
        """All descriptors of the plugin by ``kind name``."""
        host = self.host()
        kinds = {
            "runtime": host.runtimes,
            "probe": host.probes,
            "network": host.networks,
            "publisher": host.publishers,
            "balancer": host.balancers,
            "provisioner": host.provisioners,
        }
        return {f"{kind} {name}": one for kind, found in kinds.items() for name, one in found.items()}

    def test_it_provides_something(self) -> None:
        assert self.provided(), f"none of {', '.join(PROVIDER_HOOKS)} gives a descriptor"

    def test_it_provides_the_same_each_time(self) -> None:
        assert self.provided().keys() == self.provided().keys()

    def test_its_schemas_take_the_examples_and_refuse_unknown_options(self) -> None:
        for label, provider in self.provided().items():
            schema = getattr(provider, "schema", None)
            example = self.examples.get(label.partition(" ")[2], {})
            if schema is None:
                assert not example, f"{label} takes no options, yet there is an example"
                continue
            assert issubclass(schema, Schema)
            if label.partition(" ")[2] in self.examples:
                assert load_options("mine", schema, example)[1] == []
            assert load_options("mine", schema, {**example, "no_such_option": 1})[1]

    def test_its_functions_can_be_called(self) -> None:
        for provider in self.provided().values():
            assert callable(provider.probe if isinstance(provider, ProbeType) else getattr(provider, "create", None))


def _columns(
    nodes: NodeTable, request: PlacementRequest
) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    names = ("cpu_free", "cpu_total", "memory_free", "memory_total", "instance_count", "taint_codes")
    columns = {name: np.array(getattr(nodes, name)) for name in names}
    columns["gpu"] = np.array(nodes.resource_free("gpu"))
    columns["zone"] = np.array(nodes.label("zone").codes)
    columns["count"] = np.array(nodes.count_of(request.service))
    columns["failures"] = np.array(nodes.failures_of(request.service))
    return columns
