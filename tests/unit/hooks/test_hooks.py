"""Every hook of the contract, asked through the host: at least one test per hook, named after it."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest
from marshmallow import Schema, fields

from newbon_core.hooks import (
    BalancerType,
    FieldProblem,
    NetworkType,
    ProbeResult,
    ProbeType,
    ProvisionerType,
    PublisherType,
    RuntimeType,
    Scores,
    ServiceField,
    Verdict,
    hookimpl,
)
from newbon_core.hooks.host import PluginHost
from newbon_core.hooks.settings import PluginSettings
from newbon_core.testing.bench import Bench, host_of, make_request

REQUEST = make_request()


def three_nodes():
    return Bench().node("n0").node("n1").node("n2").nodes(REQUEST)


def a_plugin(**members):
    """A plugin of these hooks (and attributes); functions are marked."""
    return SimpleNamespace(
        **{name: hookimpl(one) if name.startswith("newbon_") else one for name, one in members.items()}
    )


def creates(options):
    return object()


def test_newbon_configure_is_given_the_validated_options_with_defaults():
    class OptionsSchema(Schema):
        port = fields.Integer(load_default=53)
        zone = fields.String(required=True)

    seen = []
    plugin = a_plugin(OptionsSchema=OptionsSchema, newbon_configure=lambda options: seen.append(options))
    host_of(PluginSettings(tables={"mine": {"zone": "example.org"}}), mine=plugin)
    assert seen == [{"zone": "example.org", "port": 53}]


def test_newbon_configure_that_raises_fails_the_plugin_alone():
    def configure(options):
        raise RuntimeError("the disk is missing")

    host = PluginHost.of(mine=a_plugin(newbon_configure=configure), other=a_plugin(newbon_probes=lambda: []))
    assert host.plugin("mine").status == "failed"
    assert re.fullmatch(
        r"newbon_configure raised RuntimeError: the disk is missing \(test_hooks.py line \d+\)",
        host.plugin("mine").reason,
    )
    assert host.plugin("other").status == "active"


def test_newbon_filter_nodes_may_answer_with_a_verdict_a_plain_mask_or_none():
    def verdict(request, nodes):
        return Verdict(np.array([True, False, True]), lambda index: f"zone: {nodes.names[index]} is elsewhere")

    host = host_of(
        a=a_plugin(newbon_filter_nodes=verdict),
        b=a_plugin(newbon_filter_nodes=lambda nodes: np.array([False, True, True])),
        c=a_plugin(newbon_filter_nodes=lambda request: None),
    )
    a, b = host.filter_nodes(REQUEST, three_nodes())
    assert (a.plugin, a.verdict.reason(1)) == ("a", "zone: n1 is elsewhere")
    assert (b.plugin, b.verdict.reason(0)) == ("b", "b: the filter gives no reason")
    assert b.verdict.passed.tolist() == [False, True, True]


def test_newbon_score_nodes_may_answer_with_scores_a_plain_array_or_none():
    host = host_of(
        PluginSettings(tables={"a": {"weight": 2.5}}),
        a=a_plugin(newbon_score_nodes=lambda request, nodes: Scores(np.array([1.0, 2.0, 3.0]), bounds=(0.0, 9.0))),
        b=a_plugin(newbon_score_nodes=lambda request, nodes: -nodes.instance_count),
        c=a_plugin(newbon_score_nodes=lambda request, nodes: None),
    )
    a, b = host.score_nodes(REQUEST, three_nodes())
    assert (a.plugin, a.weight, a.scores.bounds) == ("a", 2.5, (0.0, 9.0))
    assert (b.plugin, b.weight, b.scores.values.dtype) == ("b", 1.0, np.float64)


def test_newbon_service_fields_validate_and_name_the_plugin_that_fails():
    def broken(value):
        raise KeyError("oops")

    def positive(value):
        return [] if value > 0 else [FieldProblem("", "must be above 0")]

    host = host_of(
        good=a_plugin(newbon_service_fields=lambda: [ServiceField(path="schedule.max_per_node", validate=positive)]),
        bad=a_plugin(newbon_service_fields=lambda: [ServiceField(path="resources", validate=broken)]),
    )
    plugin, field = host.service_fields["schedule.max_per_node"]
    assert (plugin, field.validate(1), field.validate(0)) == ("good", [], [FieldProblem("", "must be above 0")])
    (problem,) = host.service_fields["resources"][1].validate(1)
    assert problem.message == "plugin bad failed while it looked at this: KeyError: 'oops'"
    assert host.plugin("bad").errors == 1


def test_newbon_service_fields_that_two_plugins_enforce_must_satisfy_both():
    def says(word):
        return lambda: [ServiceField(path="resources", validate=lambda value: [FieldProblem("", word)])]

    host = host_of(a=a_plugin(newbon_service_fields=says("one")), b=a_plugin(newbon_service_fields=says("two")))
    plugins, field = host.service_fields["resources"]
    assert (plugins, [problem.message for problem in field.validate(0)]) == ("a, b", ["one", "two"])


def test_newbon_runtimes():
    host = host_of(mine=a_plugin(newbon_runtimes=lambda: [RuntimeType(name="docker", create=creates)]))
    assert list(host.runtimes) == ["docker"]
    assert host.plugin("mine").providers == {"runtime": ("docker",)}


def test_newbon_probes():
    def probe(target, options, timeout_s):
        return ProbeResult(healthy=True, message="", latency_s=0.0)

    host = host_of(mine=a_plugin(newbon_probes=lambda: iter([ProbeType(name="http", probe=probe)])))
    assert host.probes["http"].probe is probe


def test_newbon_networks():
    host = host_of(mine=a_plugin(newbon_networks=lambda: (NetworkType(name="calico", create=creates),)))
    assert list(host.networks) == ["calico"]


def test_newbon_dns_publishers():
    host = host_of(mine=a_plugin(newbon_dns_publishers=lambda: [PublisherType(name="rfc2136", create=creates)]))
    assert list(host.publishers) == ["rfc2136"]


def test_newbon_balancers():
    host = host_of(mine=a_plugin(newbon_balancers=lambda: [BalancerType(name="nginx", create=creates)]))
    assert list(host.balancers) == ["nginx"]


def test_newbon_provisioners():
    host = host_of(mine=a_plugin(newbon_provisioners=lambda: [ProvisionerType(name="hetzner", create=creates)]))
    assert list(host.provisioners) == ["hetzner"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([NetworkType(name="docker", create=creates)], "it must give RuntimeType only"),
        ([RuntimeType(name="Docker!", create=creates)], "the name 'Docker!'"),
        ([RuntimeType(name="docker", create=creates)] * 2, "gave the runtime 'docker' twice"),
        ([RuntimeType(name="docker", create=None)], "where a function is needed"),
        ([RuntimeType(name="docker", create=creates, schema=dict)], "is no marshmallow Schema class"),
        ("docker", "it must give an iterable of descriptors"),
        (RuntimeType(name="docker", create=creates), "it must give an iterable of descriptors"),
    ],
)
def test_a_provider_hook_that_gives_something_else_fails_its_plugin(given, expected):
    host = PluginHost.of(mine=a_plugin(newbon_runtimes=lambda: given))
    assert host.plugin("mine").status == "failed"
    assert expected in host.plugin("mine").reason
    assert not host.runtimes


def test_a_provider_that_nobody_gives_is_explained_with_the_nearest():
    def runtimes():
        return [RuntimeType(name="docker", create=creates)]

    host = host_of(mine=a_plugin(newbon_runtimes=runtimes))
    assert host.explain_missing("runtime", "dokcer") == "there is no runtime 'dokcer'; did you mean 'docker'?"
    twice = host_of(a=a_plugin(newbon_runtimes=runtimes), b=a_plugin(newbon_runtimes=runtimes))
    assert "provided by the plugins a and b" in twice.explain_missing("runtime", "docker")
