"""What is wrong with a plugin is told when it is taken in: which step, where, and what would be right."""

from __future__ import annotations

import logging
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from marshmallow import Schema, fields, validates_schema

from newbon_core.hooks import PerNodeFilter, PerNodeScore, RuntimeType, hookimpl
from newbon_core.hooks.host import PluginHost
from newbon_core.hooks.settings import PluginSettings
from newbon_core.testing.bench import Bench, make_request

REQUEST = make_request()
NODES = Bench().node("n0").node("n1").nodes(REQUEST)


def info(plugin, settings=None, **tables):
    settings = PluginSettings(tables={"mine": tables}) if tables else settings
    return PluginHost.of(settings, mine=plugin).plugin("mine")


def reason(plugin, **tables):
    found = info(plugin, **tables)
    assert found.status == "failed"
    return found.reason


def module(source, name="brk"):
    """A module of this source, as an import would make it."""
    made = ModuleType(name)
    sys.modules[name] = made
    exec(compile(source, f"/somewhere/{name}.py", "exec"), vars(made))
    return made


@pytest.fixture(autouse=True)
def forget():
    yield
    sys.modules.pop("brk", None)


HEAD = "from newbon_core.hooks import PerNodeFilter, hookimpl\nfrom marshmallow import Schema, fields\nimport numpy\n"
SCORE = "@hookimpl\ndef newbon_score_nodes(nodes):\n    return numpy.zeros(len(nodes))\n"


# --- which step, and where ---


def test_a_constructor_that_raises_is_told_with_its_line():
    brk = module(HEAD + "class Mine(PerNodeFilter):\n    def __init__(self):\n        {}['a']\n")
    assert reason(brk.Mine) == "Mine() raised KeyError: 'a' (brk.py line 6)"


def test_configure_that_raises_is_told_with_its_line_and_the_traceback_is_logged(caplog):
    brk = module(HEAD + SCORE + "@hookimpl\ndef newbon_configure(options):\n    options['a']\n")
    with caplog.at_level(logging.DEBUG, "newbon_core.hooks.telling"):
        assert reason(brk) == "newbon_configure raised KeyError: 'a' (brk.py line 9)"
    assert any(record.exc_info for record in caplog.records)


def test_a_schema_that_raises_is_told_and_no_secret_with_it():
    class OptionsSchema(Schema):
        password = fields.String(load_only=True)

        @validates_schema
        def check(self, data, **others):
            raise RuntimeError(f"{data['password']} is weak")

    text = reason(SimpleNamespace(OptionsSchema=OptionsSchema, newbon_probes=hookimpl(lambda: [])), password="hunter2")
    assert text.startswith("OptionsSchema raised RuntimeError: (secret) is weak (test_taking_in.py line ")


def test_a_provider_hook_that_raises_while_it_yields_is_told_with_its_line():
    brk = module(HEAD + "@hookimpl\ndef newbon_probes():\n    yield 1 / 0\n")
    assert reason(brk) == "newbon_probes raised ZeroDivisionError: division by zero (brk.py line 6)"


def test_what_a_plugin_prints_goes_to_standard_error(capsys):
    class Chatty:
        def __init__(self):
            sys.stdout.write("made\n")

        @hookimpl
        def newbon_configure(self, options):
            sys.stdout.write("configured\n")

        @hookimpl
        def newbon_runtimes(self):
            sys.stdout.write("asked\n")
            return [RuntimeType(name="r", create=lambda options: None)]

    assert info(Chatty).status == "active"
    assert capsys.readouterr() == ("", "made\nconfigured\nasked\n")


# --- options ---


def test_names_beside_a_class_are_told_to_be_ignored():
    brk = module(
        HEAD
        + "class OptionsSchema(Schema):\n    a = fields.Integer()\nDEFAULT_WEIGHT = 2\nclass Mine(PerNodeFilter):\n"
        "    def check(self, request, node):\n        return None\n"
    )
    found = info(brk.Mine)
    assert found.status == "active"
    assert "OptionsSchema of the module brk is ignored, for the entry point names the class Mine" in found.reason
    assert "DEFAULT_WEIGHT of the module brk is ignored" in found.reason
    assert any("OptionsSchema of the module" in warning for warning in PluginHost.of(mine=brk.Mine).warnings)
    given = reason(brk.Mine, a=1)
    assert "takes no options (Mine has no OptionsSchema; it must be in the class)" in given
    assert "put it inside the class" in given


def test_a_misspelt_schema_is_told_with_the_right_name():
    brk = module(HEAD + SCORE + "class OptionSchema(Schema):\n    a = fields.Integer()\n")
    assert "it has OptionSchema, which nothing asks for; did you mean OptionsSchema?" in info(brk).reason
    assert "did you mean OptionsSchema?" in reason(brk, a=1)
    assert "takes no options (mine has no OptionsSchema)" in reason(brk, a=1)


def test_options_that_nothing_takes_are_a_mistake():
    class OptionsSchema(Schema):
        a = fields.Integer()

    text = reason(SimpleNamespace(OptionsSchema=OptionsSchema, newbon_probes=hookimpl(lambda: [])))
    assert "nothing that takes the options: add @hookimpl def newbon_configure(options)" in text


@pytest.mark.parametrize("name", ["weight", "enabled"])
def test_an_option_cannot_have_a_name_of_the_core(name):
    schema = Schema.from_dict({name: fields.Integer()})
    plugin = SimpleNamespace(OptionsSchema=schema, newbon_configure=hookimpl(lambda options: None))
    assert f"OptionsSchema has a field '{name}', which is the core's own word" in reason(plugin)


def test_a_score_that_is_off_need_not_have_its_options():
    class Packs:
        DEFAULT_WEIGHT = 0

        class OptionsSchema(Schema):
            size = fields.Integer(required=True)

        @hookimpl
        def newbon_configure(self, options):
            self.size = options["size"]

        @hookimpl
        def newbon_score_nodes(self, nodes):
            return np.full(len(nodes), self.size)

    assert info(Packs, PluginSettings()).status == "disabled"
    wanted = info(Packs, PluginSettings(enabled=("mine",)))
    assert (wanted.status, "[plugins.mine] size" in wanted.reason) == ("failed", True)
    assert "[plugins.mine] size" in reason(Packs, colour="red")
    assert info(Packs, size=3, weight=1).status == "active"


def test_secrets_deep_within_are_not_told_with_a_wrong_value():
    class Inner(Schema):
        key = fields.String(load_only=True)
        port = fields.Integer()

    class OptionsSchema(Schema):
        login = fields.Nested(Inner)

    plugin = SimpleNamespace(OptionsSchema=OptionsSchema, newbon_configure=hookimpl(lambda options: None))
    text = reason(plugin, login={"key": "hunter2", "port": "x"})
    assert "[plugins.mine] login.port" in text
    assert "hunter2" not in text


# --- what is no plugin ---


class WithoutCheck(PerNodeFilter):
    def chekc(self, request, node):
        return None


class ShortCheck(PerNodeFilter):
    def check(self, node):
        return None


class WithoutScore(PerNodeScore):
    pass


class Forgot:
    def check(self, request, node):
        return None


class ForgotToScore:
    def score(self, request, node):
        return 1.0


@pytest.mark.parametrize(
    ("plugin", "expected"),
    [
        (WithoutCheck, "is a PerNodeFilter without check(); it must have def check(self, request, node)"),
        (ShortCheck, "check of ShortCheck is check(node); it must be def check(self, request, node)"),
        (WithoutScore, "is a PerNodeScore without score(); it must have def score(self, request, node)"),
        (Forgot, "has check(); did you forget to subclass PerNodeFilter?"),
        (ForgotToScore, "has score(); did you forget to subclass PerNodeScore?"),
    ],
)
def test_what_cannot_be_asked_is_refused(plugin, expected):
    assert expected in reason(plugin)


def test_the_cores_own_name_is_refused():
    host = PluginHost.of(PluginSettings(), newbon=WithoutCheck)
    assert "'newbon' cannot be a plugin's name" in host.plugin("newbon").reason


# --- filters fail closed from the start ---


class Strict(PerNodeFilter):
    class OptionsSchema(Schema):
        team = fields.String(required=True)

    @hookimpl
    def newbon_configure(self, options):
        self.team = options["team"]

    def check(self, request, node):
        return None


class Unmade(PerNodeFilter):
    def __init__(self):
        raise OSError("no such file")

    def check(self, request, node):
        return None


@pytest.mark.parametrize("plugin", [Strict, Unmade, WithoutCheck])
def test_a_filter_that_fails_when_it_is_taken_in_rejects_every_node(plugin):
    host = PluginHost.of(PluginSettings(order=("z",)), mine=plugin, z=Passing)
    first, answer = host.filter_nodes(REQUEST, NODES)
    assert (first.plugin, answer.plugin, answer.failed) == ("z", "mine", True)
    assert not answer.verdict.passed.any()
    assert answer.verdict.reason(0) == f"plugin mine failed: {host.plugin('mine').reason}"
    placed = Bench().node("n0").place(host, REQUEST)
    assert placed.nodes == [None]
    assert "plugin mine failed" in placed.summary()
    (advice,) = Bench().node("n0").explain(host, REQUEST).advice
    assert advice == "put the plugin mine right, or disable it: [plugins] disabled"


class Passing(PerNodeFilter):
    def check(self, request, node):
        return None


def test_a_filter_that_is_put_right_or_disabled_rejects_nothing():
    right = PluginHost.of(PluginSettings(tables={"mine": {"team": "red"}}), mine=Strict)
    assert right.filter_nodes(REQUEST, NODES)[0].verdict.passed.all()
    assert PluginHost.of(PluginSettings(disabled=("mine",)), mine=Strict).filter_nodes(REQUEST, NODES) == []


def test_only_what_is_a_filter_fails_closed():
    host = PluginHost.of(mine=WithoutScore, other=Forgot)
    assert {one.status for one in host.plugins} == {"failed"}
    assert host.filter_nodes(REQUEST, NODES) == []
