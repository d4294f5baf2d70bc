"""Placement through the real host: filters, then scores, ties by name, groups, reservations."""

from __future__ import annotations

from collections import Counter

import newbon_filter_constraints
import newbon_filter_resources
import newbon_score_spread
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from newbon_score_binpack import Binpack

from newbon_core.hooks import (
    FloatArray,
    NodeTable,
    NodeView,
    PerNodeFilter,
    PlacementRequest,
    Scores,
    Verdict,
    hookimpl,
)
from newbon_core.hooks.host import PluginHost
from newbon_core.hooks.settings import PluginSettings
from newbon_core.model import Affinity, Node, NodeState, NodeStatus, Resources, Schedule
from newbon_core.scheduler import Scheduler
from newbon_core.testing.plugins import GIB, MIB, Bench, host_of, make_request

DEFAULT = {
    "filter_constraints": newbon_filter_constraints,
    "filter_resources": newbon_filter_resources,
    "score_spread": newbon_score_spread,
}
HOST = host_of(**DEFAULT)


def fleet(host: PluginHost, *names: str, cpu: int = 4000) -> Scheduler:
    scheduler = Scheduler(host)
    for name in names:
        told = NodeStatus(name=name, cpu_millis=cpu, memory_bytes=8 * GIB, runtimes={"docker": "27.0"})
        scheduler.table.upsert_node(Node(name=name), told)
    return scheduler


class Prefer:
    """Scores nodes by a table of wishes."""

    def __init__(self, **wishes: float) -> None:
        self.wishes = wishes

    @hookimpl
    def newbon_score_nodes(self, request: PlacementRequest, nodes: NodeTable) -> FloatArray:
        return np.array([self.wishes.get(name, 0.0) for name in nodes.names])


# --- choosing ---


def test_the_best_node_is_taken_and_it_is_told_why() -> None:
    placed = fleet(host_of(wish=Prefer(n2=10.0, n3=5.0)), "n1", "n2", "n3").place(make_request())
    why = placed.placement(0)
    assert placed.nodes == ["n2"]
    assert (why.score, why.terms, why.runner_up, why.runner_up_score) == (1.0, {"wish": 1.0}, "n3", 0.5)
    assert (why.nodes, why.feasible, why.rejected) == (3, 3, {})


def test_among_equals_the_first_by_name_however_they_came() -> None:
    assert fleet(HOST, "n3", "n1", "n2").place(make_request(count=4)).nodes == ["n1", "n2", "n3", "n1"]


def test_without_any_score_nodes_are_filled_in_the_order_of_names() -> None:
    scheduler = fleet(host_of(filter_resources=newbon_filter_resources), "b", "a", cpu=1000)
    request = make_request(count=3, resources=Resources(cpu_millis=500))
    assert scheduler.place(request).nodes == ["a", "a", "b"]


def test_weights_settle_between_scores() -> None:
    wishes = {"one": Prefer(n1=1.0), "other": Prefer(n2=1.0)}
    for weights, expected in (((1, 2), "n2"), ((2, 1), "n1"), ((1, 1), "n1")):
        tables = {name: {"weight": weight} for name, weight in zip(wishes, weights, strict=True)}
        host = PluginHost.of(PluginSettings(enabled=("one", "other"), tables=tables), **wishes)
        assert fleet(host, "n1", "n2").place(make_request()).nodes == [expected]


def test_terms_add_up_to_the_score() -> None:
    bench = Bench()
    for index in range(6):
        bench.node(f"n{index}", labels={"zone": f"z{index % 2}"})
    host = host_of(**DEFAULT, score_binpack=Binpack)
    request = make_request(
        count=9, resources=Resources(cpu_millis=500, memory_bytes=MIB), schedule=Schedule(spread=("zone", "node"))
    )
    placed = bench.place(host, request)
    for i in range(9):
        why = placed.placement(i)
        assert set(why.terms) == {"score_spread", "score_binpack"}
        assert sum(why.terms.values()) == pytest.approx(why.score)
        assert why.runner_up not in (None, placed.nodes[i])
        assert why.runner_up_score is not None
        assert why.runner_up_score <= why.score


# --- what the core itself asks ---


def test_only_ready_uncordoned_nodes_with_the_runtime_are_taken() -> None:
    scheduler = fleet(HOST, "n5")
    told = NodeStatus(name="x", cpu_millis=1000, memory_bytes=GIB, runtimes={"docker": "27.0"})
    bare = NodeStatus(name="x", cpu_millis=1000, memory_bytes=GIB, runtimes={"podman": "5.0"})
    scheduler.table.upsert_node(Node(name="n1", cordoned=True), told)
    scheduler.table.upsert_node(Node(name="n2", state=NodeState.LOST, state_reason="no heartbeat for 12 s"), told)
    scheduler.table.upsert_node(Node(name="n3"), bare)
    scheduler.table.upsert_node(Node(name="n4"), None)
    placed = scheduler.place(make_request())
    assert placed.nodes == ["n5"]
    assert placed.placement(0).rejected == {"cordoned": 1, "lost": 1, "runtime": 1, "not registered": 1}
    scheduler.table.remove_node("n5")
    assert scheduler.place(make_request()).summary() == (
        "no node fits: 1 of 4 cordoned; 1 of 4 lost; 1 of 4 not registered; "
        "1 of 4 runtime: needs docker, the node has podman (n3)"
    )
    found = scheduler.explain(make_request())
    assert {node.name: node.reasons for node in found.nodes} == {
        "n1": ("cordoned: the node takes no new instances",),
        "n2": ("lost: no heartbeat for 12 s",),
        "n3": ("runtime: needs docker, the node has podman",),
        "n4": ("not registered: no agent has told of this node yet",),
    }
    assert set(found.advice) == {"uncordon n1", "bring n2 back", "give n3 the runtime docker", "start the agent on n4"}


def test_without_nodes_it_says_so() -> None:
    placed = Scheduler(HOST).place(make_request(count=2))
    assert placed.nodes == [None, None]
    assert placed.summary() == "no node fits: no node has joined"
    assert Scheduler(HOST).explain(make_request()).advice == ("add a node",)


# --- reservations ---


def test_names_reserve_and_release_gives_back() -> None:
    scheduler = fleet(HOST, "n1", "n2", cpu=1000)
    request = make_request(count=5, resources=Resources(cpu_millis=500))
    names = [f"web-{i}" for i in range(5)]
    assert scheduler.place(request, names).nodes == ["n1", "n2", "n1", "n2", None]
    assert "web-3" in scheduler.table
    assert "web-4" not in scheduler.table
    assert scheduler.place(make_request("db", resources=Resources(cpu_millis=1))).nodes == [None]
    before = scheduler.table.improvements
    scheduler.release(names)
    assert scheduler.table.improvements > before
    assert scheduler.place(request).placed == 4


def test_placing_without_names_reserves_nothing() -> None:
    scheduler = fleet(HOST, "n1", cpu=1000)
    apart = Schedule(affinity=(Affinity(service="web", topology="zone", anti=True),))
    for schedule in (Schedule(), apart):
        request = make_request(count=3, resources=Resources(cpu_millis=300), schedule=schedule)
        assert scheduler.place(request).nodes == scheduler.place(request).nodes
        assert scheduler.explain(request).placed == scheduler.place(request).placed


def test_names_must_be_as_many_as_replicas() -> None:
    with pytest.raises(ValueError, match="2 names for 3 replicas of web"):
        fleet(HOST, "n1").place(make_request(count=3), ["web-0", "web-1"])


def test_a_request_that_waits_for_another_service_is_helped_by_its_coming() -> None:
    scheduler = fleet(HOST, "n1")
    beside = make_request(schedule=Schedule(affinity=(Affinity(service="db"),)))
    assert scheduler.place(beside).nodes == [None]
    before = scheduler.table.improvements
    scheduler.place(make_request("cache"), ["cache-0"])
    assert scheduler.table.improvements == before
    scheduler.place(make_request("db"), ["db-0"])
    assert scheduler.table.improvements > before
    assert scheduler.place(beside).nodes == ["n1"]


# --- plugins that are written plainly, or that fail ---


class NoTuesdays(PerNodeFilter):
    def check(self, request: PlacementRequest, node: NodeView) -> str | None:
        return None if node.count_of("web") < int(node.name[1:]) else f"mood: enough of them on {node.name}"


def test_a_filter_over_one_node_is_counted_by_its_reasons() -> None:
    placed = fleet(host_of(mood=NoTuesdays(), spread=newbon_score_spread), "n0", "n1", "n2").place(
        make_request(count=5)
    )
    assert Counter(placed.nodes) == {"n1": 1, "n2": 2, None: 2}
    assert placed.rejected == {"mood": 3}
    assert placed.summary() == "2 of 5 replicas found no node: 3 of 3 mood: enough of them on n0 (n0)"


class FailsLater:
    """Works on the cluster as it is, fails on what is assumed."""

    @hookimpl
    def newbon_filter_nodes(self, request: PlacementRequest, nodes: NodeTable) -> Verdict | None:
        if nodes.added > 1:
            raise RuntimeError("too deep")
        return None

    @hookimpl
    def newbon_score_nodes(self, request: PlacementRequest, nodes: NodeTable) -> Scores:
        if nodes.added > 0:
            raise RuntimeError("too deep")
        return Scores(np.arange(len(nodes), dtype=np.float64))


def test_a_plugin_that_fails_on_the_way_is_contained() -> None:
    placed = fleet(host_of(later=FailsLater(), strict=False), "n1", "n2").place(make_request(count=5))
    assert Counter(placed.nodes) == {"n1": 2, "n2": 2, None: 1}
    assert "too deep" in placed.summary()


class OneByOne:
    """Says that every replica may matter to other nodes."""

    @hookimpl
    def newbon_filter_nodes(self, request: PlacementRequest, nodes: NodeTable) -> Verdict:
        total = int(nodes.count_of(request.service).sum())
        return Verdict(np.full(len(nodes), total < 3), lambda _: f"quota: {total} of 3", stepwise=True)


def test_a_stepwise_group_is_placed_one_by_one() -> None:
    placed = fleet(host_of(quota=OneByOne(), spread=newbon_score_spread), "n1", "n2").place(make_request(count=5))
    assert placed.nodes == ["n1", "n2", "n1", None, None]
    assert placed.summary() == "2 of 5 replicas found no node: 2 of 2 quota: 3 of 3 (n1)"
    assert placed.placement(1).runner_up == "n1"
    with pytest.raises(IndexError, match="replica 3 of web has no node: 3 were placed"):
        placed.placement(3)


# --- explanations ---


def test_an_explanation_tells_of_every_node_filter_and_score() -> None:
    bench = Bench().node("n1", cpu_millis=100).node("n2", labels={"disk": "ssd"}).node("n3")
    request = make_request(
        count=2, resources=Resources(cpu_millis=500), schedule=Schedule(constraints=("node.labels.disk == ssd",))
    )
    found = bench.explain(HOST, request)
    by_name = {node.name: node for node in found.nodes}
    assert by_name["n1"].reasons == (
        "constraint node.labels.disk == ssd: the node has no disk",
        "cpu: needs 0.5 cores, 0.1 cores free",
    )
    assert [(one.plugin, one.passed) for one in by_name["n3"].filters] == [
        ("newbon", True),
        ("filter_constraints", False),
        ("filter_resources", True),
    ]
    assert by_name["n2"].chosen == 2
    (score,) = by_name["n2"].scores
    assert (score.plugin, score.weight, score.weighted) == ("score_spread", 1.0, by_name["n2"].total)
    assert by_name["n1"].total is None
    assert (found.summary, found.advice) == ("2 replicas placed on 1 node", ())


# --- the law ---


@settings(max_examples=60)
@given(st.data())
def test_a_group_lands_where_single_requests_would(data: st.DataObject) -> None:
    """With scores whose scale does not hang on the group, a group is exactly its replicas one after another."""
    nodes = data.draw(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["a", "b", None])), min_size=1, max_size=6))

    def scheduler() -> Scheduler:
        made = Scheduler(HOST)
        for index, (room, zone) in enumerate(nodes):
            name = f"n{index}"
            told = NodeStatus(name=name, cpu_millis=room * 100, memory_bytes=GIB, runtimes={"docker": "27.0"})
            made.table.upsert_node(Node(name=name, labels={"zone": zone} if zone else {}), told)
        return made

    spread = data.draw(st.sampled_from([("node",), ("zone", "node"), ("zone",), ("node", "zone"), ()]))
    schedule = Schedule(spread=spread, max_per_node=data.draw(st.integers(0, 3)))
    count = data.draw(st.integers(1, 12))
    needs = Resources(cpu_millis=100)
    group = scheduler().place(make_request(count=count, resources=needs, schedule=schedule))
    single = make_request(resources=needs, schedule=schedule)
    one_by_one = scheduler()
    assert group.nodes == [one_by_one.place(single, [f"web-{i}"]).nodes[0] for i in range(count)]
