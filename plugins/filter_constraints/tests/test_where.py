"""filter_constraints: taints, the limit per node, and affinity between services."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import newbon_filter_constraints
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newbon_core.hooks import NodeView, PerNodeScore, PlacementRequest
from newbon_core.model import Affinity, Schedule, Taint, Toleration
from newbon_core.testing.plugins import Bench, host_of, make_request


class Fewest(PerNodeScore):
    """Fewest instances first, so that nothing but the filter keeps replicas together."""

    def score(self, request: PlacementRequest, node: NodeView) -> float:
        return -float(node.instance_count)


HOST = host_of(filter_constraints=newbon_filter_constraints, fewest=Fewest())
DB = Taint(key="dedicated", value="db")


def place(bench: Bench, count: int = 1, service: str = "web", **schedule: object) -> list[str | None]:
    return bench.place(HOST, make_request(service, count=count, schedule=Schedule(**schedule))).nodes  # type: ignore[arg-type]  fields of Schedule by name


def zoned(*zones: str | None) -> Bench:
    bench = Bench()
    for index, zone in enumerate(zones):
        bench.node(f"n{index}", labels={"zone": zone} if zone else {})
    return bench


# --- taints ---


@pytest.mark.parametrize(
    ("tolerations", "welcome"),
    [
        ((), False),
        ((Toleration(key="dedicated"),), True),
        ((Toleration(key="dedicated", value="db"),), True),
        ((Toleration(key="dedicated", value="web"),), False),
        ((Toleration(key="other"),), False),
    ],
)
def test_a_taint_keeps_away_what_does_not_tolerate_it(tolerations: Sequence[Toleration], welcome: bool) -> None:
    bench = Bench().node("n1", taints=[DB])
    assert place(bench, tolerations=tuple(tolerations)) == ["n1" if welcome else None]


def test_every_taint_must_be_tolerated() -> None:
    bench = Bench().node("n1", taints=[DB, Taint(key="old")]).node("n2").instances("x", "n2", 9)
    tolerations = (Toleration(key="dedicated"),)
    assert place(bench, tolerations=tolerations) == ["n2"]
    explanation = bench.explain(HOST, make_request(schedule=Schedule(tolerations=tolerations)))
    assert explanation.nodes[0].reasons == ("taint: old is not tolerated",)
    assert place(bench, tolerations=(*tolerations, Toleration(key="old", value=""))) == ["n1"]


# --- the limit per node ---


def test_no_more_than_the_limit_are_on_a_node() -> None:
    bench = Bench().node("n1").node("n2").instances("web", "n1", 1)
    assert Counter(place(bench, count=5, max_per_node=2)) == {"n1": 1, "n2": 2, None: 2}
    summary = bench.place(HOST, make_request(count=5, schedule=Schedule(max_per_node=2))).summary()
    assert summary == "2 of 5 replicas found no node: 2 of 2 max per node: 2 of at most 2 are there (n1)"


# --- affinity ---


def test_to_be_where_another_service_is() -> None:
    bench = zoned("a", "a", "b").instances("db", "n0")
    assert Counter(place(bench, 3, affinity=(Affinity(service="db"),))) == {"n0": 3}
    assert set(place(bench, 3, affinity=(Affinity(service="db", topology="zone"),))) == {"n0", "n1"}
    assert place(bench, affinity=(Affinity(service="cache"),)) == [None]


def test_not_to_be_where_another_service_is() -> None:
    bench = zoned("a", "a", "b", None).instances("db", "n0").instances("x", "n3", 5)
    assert "n0" not in place(bench, 9, affinity=(Affinity(service="db", anti=True),))
    assert place(bench, affinity=(Affinity(service="db", topology="zone", anti=True),)) == ["n2"]


def test_at_most_one_replica_per_zone() -> None:
    bench = zoned("a", "a", "b", "b", "c")
    apart = (Affinity(service="web", topology="zone", anti=True),)
    assert place(bench, 5, affinity=apart) == ["n0", "n2", "n4", None, None]
    assert place(bench.instances("web", "n1"), 5, affinity=apart) == ["n2", "n4", None, None, None]


def test_at_most_one_replica_per_node() -> None:
    assert place(zoned("a", "a"), 3, affinity=(Affinity(service="web", anti=True),)) == ["n0", "n1", None]


def test_all_replicas_in_one_zone_whichever_it_is() -> None:
    together = (Affinity(service="web", topology="zone"),)
    assert set(place(zoned("a", "b", "a"), 4, affinity=together)) == {"n0", "n2"}
    assert set(place(zoned("a", "b", "a").instances("web", "n1"), 4, affinity=together)) == {"n1"}
    assert place(zoned(None), 1, affinity=together) == [None]


def test_nodes_without_the_label_are_in_no_domain() -> None:
    apart = (Affinity(service="web", topology="zone", anti=True),)
    assert place(zoned("a", None), 3, affinity=apart) == ["n0", "n1", "n1"]


AFFINITIES = st.builds(
    Affinity, service=st.sampled_from(["web", "db"]), topology=st.sampled_from(["node", "zone"]), anti=st.booleans()
)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.integers(0, 1)), min_size=1, max_size=5),
    st.lists(AFFINITIES, max_size=2),
    st.integers(0, 3),
    st.integers(1, 8),
)
def test_a_group_is_placed_as_its_replicas_one_after_another(
    nodes: list[tuple[str | None, int]], affinities: list[Affinity], limit: int, count: int
) -> None:
    schedule = Schedule(affinity=tuple(affinities), max_per_node=limit)
    bench = zoned(*(zone for zone, _ in nodes))
    for index, (_, running) in enumerate(nodes):
        bench.instances("db", f"n{index}", running)
    together = bench.place(HOST, make_request(count=count, schedule=schedule)).nodes
    one_by_one: list[str | None] = []
    for _ in range(count):
        found = bench.place(HOST, make_request(schedule=schedule)).nodes[0]
        one_by_one.append(found)
        if found is not None:
            bench.instances("web", found)
    assert together == one_by_one
