"""score_binpack fills one node before it takes the next."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from newbon_score_binpack import Binpack

from newbon_core.hooks.host import PluginHost
from newbon_core.hooks.settings import PluginSettings
from newbon_core.model import ContainerSpec, Resources
from newbon_core.testing.plugins import GIB, MIB, Bench, ScoreConformance, host_of, make_request

SMALL = Resources(cpu_millis=500, memory_bytes=512 * MIB)


def host(**options: object) -> PluginHost:
    return host_of(
        PluginSettings(enabled=("score_binpack",), tables={"score_binpack": {"weight": 1, **options}}),
        score_binpack=Binpack,
    )


class TestConformance(ScoreConformance):
    plugin = Binpack


def test_the_fullest_node_is_taken_first() -> None:
    bench = Bench().node("empty").node("half").node("quarter")
    bench.instances("db", "half", 4, ContainerSpec(image="db", resources=SMALL))
    bench.instances("db", "quarter", 2, ContainerSpec(image="db", resources=SMALL))
    assert bench.place(host(), make_request(resources=SMALL)).nodes == ["half"]


def test_a_group_stays_together() -> None:
    bench = Bench().node("a").node("b").node("c")
    assert Counter(bench.place(host(), make_request(count=12, resources=SMALL)).nodes) == {"a": 12}


def test_only_what_the_site_says_counts() -> None:
    bench = Bench().node("cpu-full").node("memory-full")
    bench.instances("db", "cpu-full", 1, ContainerSpec(image="db", resources=Resources(cpu_millis=3000)))
    bench.instances("db", "memory-full", 1, ContainerSpec(image="db", resources=Resources(memory_bytes=6 * GIB)))
    assert bench.place(host(memory=0.0), make_request()).nodes == ["cpu-full"]
    assert bench.place(host(cpu=0.0), make_request()).nodes == ["memory-full"]


def test_it_is_off_until_the_site_gives_it_a_weight() -> None:
    found = PluginHost.of(PluginSettings(), score_binpack=Binpack)
    assert found.plugin("score_binpack").weight == 0.0
    assert not found.score_nodes(make_request(), Bench().node("a").nodes(make_request()))


@pytest.mark.parametrize("options", [{"cpu": -1}, {"cpu": "much"}, {"cpu": 0, "memory": 0}, {"disk": 1}])
def test_wrong_options_are_refused(options: dict[str, object]) -> None:
    settings = PluginSettings(tables={"score_binpack": options})
    info = PluginHost.of(settings, score_binpack=Binpack).plugin("score_binpack")
    assert info.status == "failed"
    assert next(iter(options)) in info.reason


@settings(max_examples=40)
@given(st.lists(st.integers(0, 8), min_size=1, max_size=6))
def test_the_score_rises_with_what_is_reserved(loads: list[int]) -> None:
    bench = Bench()
    for index, load in enumerate(loads):
        bench.node(f"n{index}")
        bench.instances("db", f"n{index}", load, ContainerSpec(image="db", resources=SMALL))
    request = make_request(resources=SMALL)
    values = host().score_nodes(request, bench.nodes(request))[0].scores.values.tolist()
    assert sorted(range(len(loads)), key=values.__getitem__) == sorted(range(len(loads)), key=loads.__getitem__)
    assert all(0 <= value <= 1.2 for value in values)
