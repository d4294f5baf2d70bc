"""filter_resources: a node takes a replica when everything that it reserves is free."""

from __future__ import annotations

from collections import Counter

import newbon_filter_resources
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from newbon_filter_resources.units import cores, size

from newbon_core.model import ContainerSpec, Port, Resources
from newbon_core.testing.plugins import GIB, MIB, Bench, FilterConformance, host_of, make_request

HOST = host_of(filter_resources=newbon_filter_resources)
HTTP = Port(name="http", port=80, host_port=8080)


class TestConformance(FilterConformance):
    plugin = newbon_filter_resources
    unconcerned = make_request(ports=[Port(name="http", port=80), Port(name="any", port=81, host_port=0)])


def reasons(bench: Bench, request: object) -> dict[str, tuple[str, ...]]:
    return {node.name: node.reasons for node in bench.explain(HOST, request).nodes}  # type: ignore[arg-type]


def test_every_reserved_resource_must_be_free() -> None:
    bench = Bench().node("small", cpu_millis=500, memory_bytes=300 * MIB).node("large", countable={"gpu": 1})
    assert reasons(bench, make_request(resources=Resources(cpu_millis=1000)))["small"] == (
        "cpu: needs 1 core, 0.5 cores free",
    )
    assert reasons(bench, make_request(resources=Resources(memory_bytes=512 * MIB)))["small"] == (
        "memory: needs 512 MiB, 300 MiB free",
    )
    assert reasons(bench, make_request(resources=Resources(countable={"gpu": 1}))) == {
        "small": ("gpu: needs 1, 0 free",),
        "large": (),
    }


def test_everything_that_is_short_is_told() -> None:
    bench = Bench().node("small", cpu_millis=2000, memory_bytes=300 * MIB)
    wanted = make_request(resources=Resources(cpu_millis=64_000, memory_bytes=GIB))
    assert reasons(bench, wanted)["small"] == ("cpu: needs 64 cores, 2 cores free; memory: needs 1 GiB, 300 MiB free",)


def test_what_is_not_reserved_is_not_asked_for() -> None:
    bench = Bench().node("n1", cpu_millis=1000)
    bench.instances("db", "n1", 1, ContainerSpec(image="db", resources=Resources(cpu_millis=2000)))
    assert bench.place(HOST, make_request(resources=Resources(memory_bytes=MIB))).nodes == ["n1"]
    assert bench.place(HOST, make_request(resources=Resources(cpu_millis=1))).nodes == [None]


def test_a_fixed_host_port_is_held_once_per_node() -> None:
    bench = Bench().node("n1").node("n2")
    bench.instances("db", "n1", 1, ContainerSpec(image="db", ports=(HTTP,)))
    placed = bench.place(HOST, make_request(count=2, ports=[HTTP]))
    assert placed.nodes == ["n2", None]
    assert placed.summary() == "1 of 2 replicas found no node: 2 of 2 host port: 8080/tcp taken"
    udp = Port(name="dns", port=53, protocol="udp", host_port=8080)
    assert bench.place(HOST, make_request(count=3, ports=[udp])).nodes == ["n1", "n2", None]


def test_a_group_never_takes_more_than_there_is() -> None:
    bench = Bench().node("n1", cpu_millis=1000).node("n2", cpu_millis=2500)
    placed = bench.place(HOST, make_request(count=5, resources=Resources(cpu_millis=1000)))
    assert Counter(placed.nodes) == {"n1": 1, "n2": 2, None: 2}
    assert placed.summary() == "2 of 5 replicas found no node: 2 of 2 cpu: needs 1 core, at most 0.5 cores free (n2)"


def test_the_nearest_miss_is_told_first_and_what_would_help() -> None:
    bench = Bench().node("n1", memory_bytes=100 * MIB).node("n2", memory_bytes=300 * MIB).node("n3", cpu_millis=1)
    explanation = bench.explain(HOST, make_request(resources=Resources(cpu_millis=1000, memory_bytes=512 * MIB)))
    assert explanation.summary == (
        "no node fits: 2 of 3 memory: needs 512 MiB, at most 300 MiB free (n2); "
        "1 of 3 cpu: needs 1 core, at most 0.001 cores free (n3)"
    )
    assert explanation.advice == (
        "free 212 MiB of memory on n2, or lower resources.memory to 300 MiB",
        "free 0.999 cores of cpu on n3, or lower resources.cpu to 0.001 cores",
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0 B", 0),
        ("1023 B", 1023),
        ("1 KiB", 1024),
        ("300 MiB", 300 * MIB),
        ("1.5 GiB", GIB * 3 // 2),
        ("15.99 GiB", 16 * GIB - 1),
        ("2 TiB", 2 << 40),
    ],
)
def test_sizes_are_written_for_people(text: str, value: int) -> None:
    assert size(value) == text


def test_amounts_that_are_missing_are_rounded_up() -> None:
    assert size(16 * GIB - 1, up=True) == "16 GiB"
    assert cores(1500, up=True) == "1.5 cores"


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 4)), min_size=1, max_size=6),
    st.integers(0, 2000),
    st.integers(0, 3),
    st.integers(1, 12),
)
def test_no_capacity_is_ever_overcommitted(nodes: list[tuple[int, int]], cpu: int, gpus: int, count: int) -> None:
    bench = Bench()
    for index, (free, free_gpus) in enumerate(nodes):
        bench.node(f"n{index}", cpu_millis=free, countable={"gpu": free_gpus})
    request = make_request(count=count, resources=Resources(cpu_millis=cpu, countable={"gpu": gpus}))
    placed = Counter(bench.place(HOST, request).nodes)
    room = [
        min(free // cpu if cpu else count, free_gpus // gpus if gpus else count, count) for free, free_gpus in nodes
    ]
    assert all(placed[f"n{index}"] <= most for index, most in enumerate(room))
    assert placed[None] == max(0, count - sum(room))


def test_the_summary_and_the_reasons_count_alike() -> None:
    bench = Bench().node("n1", cpu_millis=1).node("n2", memory_bytes=1).node("n3", cpu_millis=1, memory_bytes=1)
    request = make_request(resources=Resources(cpu_millis=100, memory_bytes=MIB))
    verdict = HOST.filter_nodes(request, bench.nodes(request))[0].verdict
    counted = Counter(verdict.reason(int(i)).partition(":")[0] for i in np.flatnonzero(~verdict.passed))
    assert verdict.summarise is not None
    assert {one.category: one.nodes for one in verdict.summarise(~verdict.passed)} == counted
