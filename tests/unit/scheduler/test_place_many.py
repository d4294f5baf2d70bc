"""Many requests at once land exactly where one after another would, whatever is alike among them."""

from __future__ import annotations

from collections.abc import Callable

import newbon_filter_constraints
import newbon_filter_resources
import newbon_score_spread
from hypothesis import given, settings
from hypothesis import strategies as st
from newbon_score_binpack import Binpack

from newbon_core.hooks import (
    BoolArray,
    FloatArray,
    NodeTable,
    NodeView,
    PerNodeFilter,
    PlacementRequest,
    hookimpl,
    nameless,
)
from newbon_core.hooks.host import PluginHost
from newbon_core.hooks.types import Scores, Verdict
from newbon_core.model import Affinity, Node, NodeStatus, Port, Resources, Schedule
from newbon_core.scheduler import Scheduler
from newbon_core.scheduler.group import Share
from newbon_core.testing.plugins import GIB, MIB, host_of, make_request

HOST = host_of(
    filter_constraints=newbon_filter_constraints,
    filter_resources=newbon_filter_resources,
    score_spread=newbon_score_spread,
)
PACKING = host_of(filter_resources=newbon_filter_resources, score_binpack=Binpack())
Asked = list[tuple[PlacementRequest, list[str]]]


class FillsUnevenly:
    """A score that rises and falls with what a node holds."""

    @hookimpl
    @nameless
    def newbon_score_nodes(self, request: PlacementRequest, nodes: NodeTable) -> Scores:
        return Scores((nodes.instance_count * 7 % 5).astype(float), bounds=(0.0, 5.0))


class NoNames(PerNodeFilter):
    """Knows services by name, as a filter may."""

    def check(self, request: PlacementRequest, node: NodeView) -> str | None:
        return "name: not here" if request.service == "s1" and node.name == "n0" else None


class Relative:
    """A score without bounds: its scale is what is seen."""

    @hookimpl
    @nameless
    def newbon_score_nodes(self, request: PlacementRequest, nodes: NodeTable) -> FloatArray:
        return nodes.cpu_free.astype(float)


class TurnsAway:
    """A filter whose answer for one node depends on what others hold."""

    @hookimpl
    @nameless
    def newbon_filter_nodes(self, request: PlacementRequest, nodes: NodeTable) -> Verdict:
        least: BoolArray = nodes.instance_count <= nodes.instance_count.min()
        return Verdict(least, lambda index: "full: others have less", stepwise=True)


UNEVEN = host_of(filter_resources=newbon_filter_resources, uneven=FillsUnevenly())
HOSTS = (
    HOST,
    PACKING,
    UNEVEN,
    host_of(names=NoNames(), score_spread=newbon_score_spread),
    host_of(filter_resources=newbon_filter_resources, relative=Relative()),
    host_of(turns=TurnsAway(), score_spread=newbon_score_spread),
)

schedules = st.sampled_from(
    [
        Schedule(),
        Schedule(constraints=("zone==z0",)),
        Schedule(spread=("zone", "node")),
        Schedule(affinity=(Affinity(service="s0"),)),
        Schedule(affinity=(Affinity(service="s0", topology="zone", anti=True),)),
        Schedule(max_per_node=1),
    ]
)


@st.composite
def asked(draw: st.DrawFn) -> Asked:
    """Services in runs that are alike, now and then with more replicas, or asked for again."""
    wanted: Asked = []
    for _ in range(draw(st.integers(1, 3))):
        schedule = draw(schedules)
        resources = Resources(
            cpu_millis=draw(st.sampled_from([0, 100, 700])), memory_bytes=draw(st.sampled_from([0, MIB]))
        )
        ports = draw(st.sampled_from([(), (Port(name="http", port=80, host_port=8080),)]))
        for _ in range(draw(st.integers(1, 8))):
            number = draw(st.sampled_from([len(wanted)] * 6 + [0]))
            count = draw(st.sampled_from([1] * 8 + [2]))
            request = make_request(f"s{number}", count=count, schedule=schedule, resources=resources, ports=ports)
            wanted.append((request, [f"s{number}-{len(wanted)}-{k}" for k in range(count)]))
    return wanted


def fleet(host: PluginHost, sizes: list[int]) -> Scheduler:
    scheduler = Scheduler(host)
    for number, cpu in enumerate(sizes):
        told = NodeStatus(name=f"n{number}", cpu_millis=cpu, memory_bytes=8 * GIB, runtimes={"docker": "27"})
        scheduler.table.upsert_node(Node(name=f"n{number}", labels={"zone": f"z{number % 2}"}), told)
    scheduler.table.record_failure("s3", "n0", 999.0)
    return scheduler


@settings(deadline=None, max_examples=150)
@given(asked(), st.lists(st.sampled_from([500, 1000, 2000]), min_size=1, max_size=5), st.sampled_from(HOSTS))
def test_many_land_where_one_after_another_would(wanted: Asked, sizes: list[int], host: PluginHost) -> None:
    together, singly = fleet(host, sizes), fleet(host, sizes)
    many = together.place_many(wanted)
    one_by_one = [singly.place(request, names) for request, names in wanted]
    assert [list(group.nodes) for group in many] == [group.nodes for group in one_by_one]
    for one, other in zip(many, one_by_one, strict=True):
        for k in range(other.placed):
            got, expected = one.placement(k), other.placement(k)
            assert (got.score, got.terms) == (expected.score, expected.terms)
            assert (got.runner_up, got.runner_up_score) == (expected.runner_up, expected.runner_up_score)
        assert one.summary() == other.summary()
    assert _held(together, wanted) == _held(singly, wanted)
    # What was reserved is given back the same way, too.
    names = [name for _, some in wanted for name in some]
    together.release(names)
    assert together.table.nodes.ints("instance_count").sum() == 0


def _held(scheduler: Scheduler, wanted: Asked) -> list[object]:
    nodes, table = scheduler.table.nodes, scheduler.table
    columns = [nodes.ints(name).tolist() for name in ("cpu_free", "memory_free", "instance_count")]
    totals = {request.service: table.service_total(request.service) for request, _ in wanted}
    return [*columns, totals, sorted(table.port_holders(8080, "tcp")), table.awaited]


def _asked_alike(count: int, **fields: object) -> Asked:
    return [(make_request(f"s{k}", **fields), [f"s{k}-1"]) for k in range(count)]  # type: ignore[arg-type]


def _counting(host: PluginHost) -> tuple[Scheduler, Callable[[], int]]:
    scheduler = fleet(host, [4000] * 3)
    before = sum(account.calls for account in host.accounts)
    return scheduler, lambda: sum(account.calls for account in host.accounts) - before


def test_alike_services_of_one_replica_are_asked_about_once_for_all() -> None:
    scheduler, calls = _counting(HOST)
    placed = scheduler.place_many(_asked_alike(30, resources=Resources(cpu_millis=10)))
    # s3 has failed lately and stands alone.
    assert sum(isinstance(one, Share) for one in placed) == 29
    assert calls() <= 40
    assert all(one.nodes[0] for one in placed)


def test_a_plugin_that_may_know_names_is_asked_about_each() -> None:
    host = host_of(names=NoNames(), score_spread=newbon_score_spread)
    scheduler, calls = _counting(host)
    placed = scheduler.place_many(_asked_alike(6))
    assert placed[1].nodes != ["n0"]
    assert not any(isinstance(one, Share) for one in placed)
    assert calls() >= 6 * 2
