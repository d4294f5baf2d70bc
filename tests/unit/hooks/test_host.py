"""Which plugins are used, in which order, with which weights and options; and what the host says of the others."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from marshmallow import Schema, fields, validate

from newbon_core.hooks import PerNodeFilter, RuntimeType, hookimpl, loader
from newbon_core.hooks.host import PluginHost
from newbon_core.hooks.settings import PluginSettings, SiteError
from newbon_core.testing.bench import Bench, host_of, make_request

REQUEST = make_request()
NODES = Bench().node("n0").node("n1").nodes(REQUEST)


def a_score(**more):
    return SimpleNamespace(newbon_score_nodes=hookimpl(lambda request, nodes: np.zeros(len(nodes))), **more)


def a_tuned_score(schema, **more):
    return a_score(OptionsSchema=schema, newbon_configure=hookimpl(lambda options: None), **more)


def a_filter(**more):
    return SimpleNamespace(newbon_filter_nodes=hookimpl(lambda nodes: np.ones(len(nodes), dtype=bool)), **more)


def a_runtime():
    return SimpleNamespace(newbon_runtimes=hookimpl(lambda: [RuntimeType(name="docker", create=lambda options: None)]))


def asked(host):
    return [answer.plugin for answer in host.score_nodes(REQUEST, NODES)]


def test_plugins_are_asked_by_name_unless_the_site_orders_them():
    plugins = {"b": a_score(), "c": a_score(), "a": a_score()}
    assert asked(host_of(**plugins)) == ["a", "b", "c"]
    host = host_of(PluginSettings(order=("c", "b")), **plugins)
    assert asked(host) == ["c", "b", "a"]
    assert [info.name for info in host.plugins] == ["c", "b", "a"]


def test_the_weight_is_the_sites_else_the_plugins_else_one():
    host = host_of(
        PluginSettings(tables={"a": {"weight": 3}}),
        a=a_score(DEFAULT_WEIGHT=2.0),
        b=a_score(DEFAULT_WEIGHT=2.0),
        c=a_score(),
    )
    assert [answer.weight for answer in host.score_nodes(REQUEST, NODES)] == [3.0, 2.0, 1.0]


def test_a_score_whose_weight_is_0_is_off_until_the_site_wants_it():
    plugins = {"packs": a_score(DEFAULT_WEIGHT=0), "spreads": a_score()}
    off = PluginHost.of(PluginSettings(), **plugins)
    assert asked(off) == ["spreads"]
    assert off.plugin("packs").status == "disabled"
    assert "[plugins.packs] weight = 1 turns it on" in off.plugin("packs").reason
    assert asked(host_of(PluginSettings(enabled=("packs",)), **plugins)) == ["packs"]
    assert asked(host_of(PluginSettings(tables={"packs": {"weight": 1}}), **plugins)) == ["packs", "spreads"]
    assert asked(host_of(PluginSettings(tables={"spreads": {"weight": 0}}), **plugins)) == []


@pytest.mark.parametrize("weight", [-1, "2", True, float("nan"), float("inf")])
def test_a_weight_is_a_number_from_0(weight):
    host = PluginHost.of(PluginSettings(tables={"a": {"weight": weight}}), a=a_score())
    assert host.plugin("a").reason == f"[plugins.a] weight: {weight!r} is not a number from 0 to 1e9"


def test_a_weight_for_what_gives_no_scores_is_a_mistake():
    host = PluginHost.of(PluginSettings(tables={"a": {"weight": 1}}), a=a_filter())
    assert host.plugin("a").reason == "[plugins.a] weight: this plugin gives no scores, so a weight has no meaning"


def test_a_name_that_is_not_installed_is_an_error_of_the_site():
    settings = PluginSettings(
        enabled=("score_spred",),
        disabled=("zzz",),
        order=("score_spread",),
        tables={"scores": {}},
        source="/etc/n.toml",
    )
    with pytest.raises(SiteError) as caught:
        PluginHost.of(settings, score_spread=a_score(), filter_x=a_filter())
    assert str(caught.value).splitlines() == [
        "/etc/n.toml: [plugins] enabled: no plugin 'score_spred' is installed; did you mean 'score_spread'? "
        "installed: filter_x, score_spread",
        "/etc/n.toml: [plugins] disabled: no plugin 'zzz' is installed; installed: filter_x, score_spread",
        "/etc/n.toml: [plugins.scores]: no plugin 'scores' is installed; did you mean 'score_spread'? "
        "installed: filter_x, score_spread",
    ]


def test_secrets_are_neither_shown_nor_told():
    class OptionsSchema(Schema):
        user = fields.String(load_default="newbon")
        password = fields.String(load_only=True, validate=validate.Length(min=8))

    plugin = a_tuned_score(OptionsSchema)
    good = host_of(PluginSettings(tables={"a": {"password": "correct horse"}}), a=plugin)
    assert good.plugin("a").options == {"user": "newbon", "password": "(secret)"}
    assert good.options_of("a")["password"] == "correct horse"
    bad = PluginHost.of(PluginSettings(tables={"a": {"password": "hunter2"}}), a=plugin)
    assert bad.plugin("a").status == "failed"
    assert "[plugins.a] password: " in bad.plugin("a").reason
    assert "hunter2" not in json.dumps([info.document() for info in (*bad.plugins, *good.plugins)])


def test_several_wrong_options_are_told_together_with_their_values():
    class Inner(Schema):
        port = fields.Integer()

    class OptionsSchema(Schema):
        server = fields.Nested(Inner)
        ttl = fields.Integer()

    table = {"server": {"port": "x"}, "ttl": "y", "tll": 1}
    reason = PluginHost.of(PluginSettings(tables={"a": table}), a=a_tuned_score(OptionsSchema)).plugin("a").reason
    assert "[plugins.a] server.port: Not a valid integer. (the value is {'port': 'x'})" in reason
    assert "[plugins.a] ttl: Not a valid integer. (the value is 'y')" in reason
    assert "[plugins.a] tll: there is no option 'tll'; did you mean 'ttl'?" in reason


def test_a_plugin_without_a_schema_takes_no_options():
    reason = PluginHost.of(PluginSettings(tables={"a": {"x": 1}}), a=a_score()).plugin("a").reason
    assert reason == (
        "[plugins.a] x: this plugin takes no options (SimpleNamespace has no OptionsSchema; it must be in the class)"
    )
    wrong = PluginHost.of(a=a_score(OptionsSchema=dict)).plugin("a")
    assert "it must be a marshmallow Schema class" in wrong.reason


def test_the_options_that_a_plugin_takes_are_described():
    class OptionsSchema(Schema):
        ttl = fields.Integer(load_default=5, metadata={"description": "Seconds."})
        zone = fields.String(required=True)

    table = {"zone": "example.org"}
    host = host_of(PluginSettings(tables={"a": table}), a=a_tuned_score(OptionsSchema))
    ttl, zone = host.plugin("a").option_schema
    assert (ttl.name, ttl.type, ttl.required, ttl.default, ttl.description) == ("ttl", "integer", False, 5, "Seconds.")
    assert (zone.required, zone.default) == (True, None)


class Needy:
    def __init__(self, where):
        self.where = where


class Wrapping:
    @hookimpl(wrapper=True)
    def newbon_score_nodes(self, request, nodes):
        yield


class Extra:
    @hookimpl
    def newbon_score_nodes(self, request, nodes, cycle):
        return None


class KeywordOnly:
    @hookimpl
    def newbon_score_nodes(self, *, nodes):
        return None


@pytest.mark.parametrize(
    ("plugin", "expected"),
    [
        (Needy, "the class Needy needs arguments"),
        (lambda: None, "it must name a module, an instance or a class with hooks"),
        (None, "it must name a module"),
        (object(), "it implements no hook"),
        (Wrapping, "is a wrapper"),
        (Extra, "there is no argument 'cycle'"),
        (KeywordOnly, "the argument 'nodes' of newbon_score_nodes must be a plain positional one"),
        (a_score(DEFAULT_WEIGHT="heavy"), "DEFAULT_WEIGHT is 'heavy'"),
    ],
)
def test_what_is_no_plugin_is_told_apart(plugin, expected):
    info = PluginHost.of(odd=plugin).plugin("odd")
    assert info.status == "failed"
    assert expected in info.reason


def test_hooks_may_take_their_arguments_in_any_order_with_defaults_of_their_own():
    class Turned:
        @hookimpl
        def newbon_score_nodes(self, nodes, request, strength=2.0):
            assert request is REQUEST
            return np.full(len(nodes), strength)

    (answer,) = host_of(turned=Turned).score_nodes(REQUEST, NODES)
    assert answer.scores.values.tolist() == [2.0, 2.0]


def test_one_object_may_serve_under_two_names():
    plugin = a_score()
    assert asked(host_of(a=plugin, b=plugin)) == ["a", "b"]


def test_a_per_node_filter_may_have_options_and_other_hooks():
    class Big(PerNodeFilter):
        class OptionsSchema(Schema):
            least = fields.Integer(load_default=0)

        @hookimpl
        def newbon_configure(self, options):
            self.least = options["least"]

        def check(self, request, node):
            return None if node.cpu_total >= self.least else f"cpu: {node.cpu_total} is too small"

    host = host_of(PluginSettings(tables={"big": {"least": 9000}}), big=Big)
    assert host.plugin("big").hooks == ("newbon_configure", "newbon_filter_nodes")
    assert host.filter_nodes(REQUEST, NODES)[0].verdict.reason(0) == "cpu: 4000 is too small"


def test_what_is_missing_is_said_with_the_way_to_get_it():
    assert host_of(f=a_filter(), r=a_runtime(), s=a_score()).warnings == []
    assert host_of(r=a_runtime(), s=a_score()).warnings == [
        "no filter plugin is installed, so resources and constraints are not enforced: "
        "pip install newbon-filter-resources newbon-filter-constraints"
    ]
    (no_runtime,) = host_of(f=a_filter(), s=a_score()).warnings
    assert no_runtime.endswith("pip install newbon-runtime-docker")
    (nothing,) = host_of().warnings
    assert nothing.startswith("no plugin is installed at all: pip install newbon-runtime-docker ")
    idle = PluginHost.of(PluginSettings(), f=a_filter(), r=a_runtime(), s=a_score(DEFAULT_WEIGHT=0)).warnings
    assert idle == [
        "no score plugin is active, so any node that will do is as good as another; installed but not used: s "
        "(disabled: its weight is 0; [plugins.s] weight = 1 turns it on)"
    ]


def test_what_is_installed_but_not_used_is_not_said_to_be_missing():
    found = [
        loader.Found(name=name, distribution=distribution, finding=finding, reason="because")
        for name, distribution, finding in (
            ("runtime_docker", "newbon-runtime-docker", "disabled"),
            ("limits", "newbon_filter_resources", "failed"),
            ("score_own", "acme", "incompatible"),
        )
    ]
    lacks = PluginHost(found, PluginSettings()).lacks
    assert lacks == [
        "no runtime plugin is active, so no container can be started; installed but not used: runtime_docker "
        "(disabled: because)",
        "no filter plugin is active, so resources and constraints are not enforced; installed but not used: limits "
        "(failed: because)",
        "no score plugin is active, so any node that will do is as good as another; installed but not used: score_own "
        "(incompatible: because)",
    ]


REST = {"r": a_runtime(), "s": a_score()}


def test_a_filter_that_cannot_be_used_is_told_with_what_that_means():
    broken = PluginHost.of(f=a_filter(DEFAULT_WEIGHT=1, newbon_probes=1, newbon_nets=hookimpl(lambda: [])), **REST)
    assert broken.warnings == [
        "the plugin f is not used, for it failed: there is no hook 'newbon_nets'; did you mean 'newbon_networks'?; "
        "it is a filter, so every node is rejected until it is put right or disabled: [plugins] disabled",
        "no filter plugin is active, and nothing is placed while one has failed; installed but not used: f "
        "(failed: there is no hook 'newbon_nets'; did you mean 'newbon_networks'?)",
    ]
    enough = PluginHost.of(f=a_filter(newbon_nets=hookimpl(lambda: [])), **REST, g=a_filter()).warnings
    assert [warning.partition(":")[0] for warning in enough] == ["the plugin f is not used, for it failed"]


def test_an_unknown_plugin_is_answered_with_the_nearest():
    with pytest.raises(KeyError, match="did you mean 'score_spread'"):
        host_of(score_spread=a_score()).plugin("score_spreed")
