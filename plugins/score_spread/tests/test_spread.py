"""score_spread: replicas are evenly spread, label by label, and away from where the service failed lately."""

from __future__ import annotations

from collections import Counter

import newbon_score_spread
from hypothesis import given, settings
from hypothesis import strategies as st

from newbon_core.model import Schedule
from newbon_core.testing.plugins import Bench, ScoreConformance, host_of, make_request

HOST = host_of(score_spread=newbon_score_spread)


class TestConformance(ScoreConformance):
    plugin = newbon_score_spread


def zoned(*zones: str | None) -> Bench:
    bench = Bench()
    for index, zone in enumerate(zones):
        bench.node(f"n{index}", labels={"zone": zone} if zone else {})
    return bench


def test_nodes_get_equal_shares() -> None:
    placed = Counter(zoned("a", "a", "b").place(HOST, make_request(count=7)).nodes)
    assert placed == {"n0": 3, "n1": 2, "n2": 2}


def test_what_runs_already_counts() -> None:
    bench = zoned("a", "a", "a").instances("web", "n0", 3).instances("web", "n1", 1)
    assert Counter(bench.place(HOST, make_request(count=5)).nodes) == {"n2": 3, "n1": 2}


def test_among_equals_the_node_with_fewest_instances_of_all_services() -> None:
    bench = zoned("a", "a", "a").instances("db", "n0", 2).instances("db", "n1", 1)
    assert bench.place(HOST, make_request(count=3)).nodes == ["n2", "n1", "n0"]


def test_zones_come_before_nodes() -> None:
    bench = zoned("a", "a", "a", "b")
    placed = Counter(bench.place(HOST, make_request(count=6, schedule=Schedule(spread=("zone", "node")))).nodes)
    assert placed == {"n3": 3, "n0": 1, "n1": 1, "n2": 1}


def test_nodes_before_zones() -> None:
    bench = zoned("a", "a", "b").instances("db", "n2", 5)
    placed = bench.place(HOST, make_request(count=3, schedule=Schedule(spread=("node", "zone")))).nodes
    assert placed == ["n0", "n2", "n1"]


def test_racks_count_within_their_zone() -> None:
    bench = Bench()
    for index, (zone, rack) in enumerate([("a", "1"), ("a", "2"), ("b", "1"), ("b", "1")]):
        bench.node(f"n{index}", labels={"zone": zone, "rack": rack})
    bench.instances("web", "n2", 1).instances("web", "n0", 1)
    placed = bench.place(HOST, make_request(count=2, schedule=Schedule(spread=("zone", "rack", "node"))))
    assert placed.nodes == ["n1", "n3"]


def test_nodes_without_the_label_are_a_domain_of_their_own() -> None:
    placed = Counter(
        zoned("a", None, None).place(HOST, make_request(count=4, schedule=Schedule(spread=("zone",)))).nodes
    )
    assert placed == {"n0": 2, "n1": 1, "n2": 1}


def test_a_node_where_the_service_failed_lately_is_the_last_choice() -> None:
    bench = zoned("a", "b").failures("web", "n0", at=1_000.0)
    request = make_request(count=50, now=1_100.0, schedule=Schedule(spread=("zone", "node")))
    assert Counter(bench.place(HOST, request).nodes) == {"n1": 50}
    later = make_request(count=2, now=1_301.0, schedule=Schedule(spread=("zone", "node")))
    assert Counter(bench.place(HOST, later).nodes) == {"n0": 1, "n1": 1}
    other = make_request("db", count=2, now=1_100.0)
    assert Counter(bench.place(HOST, other).nodes) == {"n0": 1, "n1": 1}


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.integers(0, 4)), min_size=1, max_size=7), st.data())
def test_one_more_replica_never_goes_where_there_are_more_than_elsewhere(
    nodes: list[tuple[str | None, int]], data: st.DataObject
) -> None:
    bench = zoned(*(zone for zone, _ in nodes))
    for index, (_, running) in enumerate(nodes):
        bench.instances("web", f"n{index}", running)
    count = data.draw(st.integers(1, 12))
    held = [running for _, running in nodes]
    for name in bench.place(HOST, make_request(count=count, schedule=Schedule(spread=("zone", "node")))).nodes:
        assert name is not None
        index = int(name[1:])
        zones = Counter[str | None]()
        for (zone, _), running in zip(nodes, held, strict=True):
            zones[zone] += running
        zone = nodes[index][0]
        assert zones[zone] == min(zones[one] for one, _ in nodes)
        assert held[index] == min(running for (one, _), running in zip(nodes, held, strict=True) if one == zone)
        held[index] += 1
