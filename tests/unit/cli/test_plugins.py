"""``newbon plugins``: what is installed here, how it stands, and whether it is whole."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from cli_fakes import run
from marshmallow import Schema, fields

from newbon_core.cli import plugins as command
from newbon_core.client import ServerUnreachable
from newbon_core.hooks import RuntimeType, hookimpl
from newbon_core.hooks.host import PluginHost
from newbon_core.hooks.settings import PluginSettings


class Options(Schema):
    ttl = fields.Integer(load_default=5, metadata={"description": "Seconds."})
    password = fields.String(load_only=True)


SCORE = SimpleNamespace(
    OptionsSchema=Options,
    newbon_configure=hookimpl(lambda options: None),
    newbon_score_nodes=hookimpl(lambda request, nodes: np.zeros(len(nodes))),
)
FILTER = SimpleNamespace(newbon_filter_nodes=hookimpl(lambda nodes: np.ones(len(nodes), dtype=bool)))
RUNTIME = SimpleNamespace(newbon_runtimes=hookimpl(lambda: [RuntimeType(name="docker", create=lambda options: None)]))
MISSPELT = SimpleNamespace(newbon_scores_node=hookimpl(lambda: None))


@pytest.fixture
def installed(monkeypatch):
    """``installed(name=plugin, …)`` makes these the plugins of this machine."""

    def install(settings=None, **plugins):
        host = PluginHost.of(settings or PluginSettings(), **plugins)
        monkeypatch.setattr(command, "_host", lambda session: host)

    return install


def test_list_shows_every_plugin_and_warns_of_what_is_missing(installed):
    installed(spreads=SCORE, bad=MISSPELT)
    result = run(None, "plugins", "list", "--local")
    assert result.exit_code == 0
    head, bad, spreads = result.stdout.splitlines()
    assert head.split() == ["NAME", "STATUS", "VERSION", "DOES", "WHY"]
    assert bad.split()[:2] == ["bad", "failed"]
    assert "did you mean 'newbon_score_nodes'?" in bad
    assert spreads.split() == ["spreads", "active", "score"]
    assert "no runtime plugin is installed" in result.stderr


@pytest.mark.parametrize(("form", "parse"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_list_for_programs_has_everything_but_secrets(installed, form, parse):
    installed(PluginSettings(tables={"spreads": {"password": "hunter2", "weight": 2}}), spreads=SCORE)
    (info,) = parse(run(None, "plugins", "list", "--local", "-o", form).stdout)
    assert (info["name"], info["status"], info["weight"]) == ("spreads", "active", 2.0)
    assert info["options"] == {"ttl": 5, "password": "(secret)"}


def test_wide_adds_weight_and_distribution(installed):
    installed(spreads=SCORE)
    assert "WEIGHT  DISTRIBUTION" in run(None, "plugins", "list", "--local", "-o", "wide").stdout


def test_show_tells_the_options_that_there_are(installed):
    installed(spreads=SCORE)
    shown = run(None, "plugins", "show", "spreads", "--local").stdout
    assert "status:       active" in shown
    assert "[plugins.spreads] ttl (integer, default 5): Seconds." in shown
    assert json.loads(run(None, "plugins", "show", "spreads", "--local", "-o", "json").stdout)["name"] == "spreads"


@pytest.mark.parametrize("verb", ["show", "check"])
def test_an_unknown_name_is_answered_with_the_nearest(installed, verb):
    installed(spreads=SCORE)
    result = run(None, "plugins", verb, "spreds", *(["--local"] if verb == "show" else []))
    assert result.exit_code == 1
    assert "did you mean 'spreads'?" in result.stderr


def test_check_is_content_with_a_whole_set(installed):
    installed(spreads=SCORE, keeps=FILTER, docker=RUNTIME)
    result = run(None, "plugins", "check")
    assert (result.exit_code, result.stdout.splitlines()) == (
        0,
        ["ok  docker (active): runtime docker", "ok  keeps (active): filter", "ok  spreads (active): score"],
    )


def test_check_finds_what_failed_and_what_is_missing(installed):
    installed(keeps=FILTER, bad=MISSPELT, docker=RUNTIME)
    result = run(None, "plugins", "check")
    assert result.exit_code == 1
    assert "wrong  bad (failed): there is no hook 'newbon_scores_node'" in result.stdout
    assert "finding: no score plugin is installed" in result.stdout
    assert result.stdout.count("there is no hook 'newbon_scores_node'") == 1
    assert run(None, "plugins", "check", "bad").stdout.count("there is no hook") == 1
    assert run(None, "plugins", "check", "keeps").exit_code == 0
    found = json.loads(run(None, "plugins", "check", "bad", "-o", "json").stdout)
    assert [info["name"] for info in found["plugins"]] == ["bad"]
    assert found["findings"][0].startswith("bad: there is no hook")


def test_check_finds_a_provider_that_two_plugins_give(installed):
    installed(a=RUNTIME, b=RUNTIME)
    result = run(None, "plugins", "check", "a")
    assert result.exit_code == 1
    assert "provided by the plugins a and b" in result.stdout


class PluginsOfAServer:
    """A client double that knows plugins alone."""

    def __init__(self, *views, error=None):
        self.views, self.error = views, error

    def plugins(self):
        if self.error is not None:
            raise self.error
        return list(self.views)


def view(name, **fields):
    return PluginHost.of(**{name: SCORE}).plugin(name).document() | fields


def test_the_server_is_asked_for_how_plugins_stand_there(installed):
    installed(mine=SCORE)
    there = PluginsOfAServer(view("there", status="quarantined", reason="in quarantine after 10 errors"))
    listed = run(there, "plugins", "list")
    assert "there" in listed.stdout
    assert "quarantined" in listed.stdout
    assert "mine" not in listed.stdout
    assert "the plugin there is quarantined" in listed.stderr
    assert "quarantined" in run(there, "plugins", "show", "there").stdout
    assert json.loads(run(there, "plugins", "list", "-o", "json").stdout)[0]["status"] == "quarantined"
    assert "mine" in run(there, "plugins", "list", "--local").stdout


def test_a_server_that_does_not_answer_is_said_and_this_machine_is_shown(installed):
    installed(mine=SCORE)
    silent = PluginsOfAServer(error=ServerUnreachable("the server at http://newbon.example:7800 does not answer"))
    listed = run(silent, "plugins", "list", "-o", "json")
    assert [info["name"] for info in json.loads(listed.stdout)] == ["mine"]
    assert "does not answer" in listed.stderr
    assert "installed on this machine" in listed.stderr


def test_a_name_that_two_distributions_claim_is_shown_twice():
    twice = PluginsOfAServer(view("x", distribution="one"), view("x", distribution="two"))
    shown = run(twice, "plugins", "show", "x").stdout
    assert "one" in shown
    assert "two" in shown
    documents = json.loads(run(twice, "plugins", "show", "x", "-o", "json").stdout)
    assert [info["distribution"] for info in documents] == ["one", "two"]


def test_the_default_of_a_secret_is_never_shown(installed):
    class Secretive(Schema):
        password = fields.String(load_only=True, load_default="hunter2")
        login = fields.Nested(Schema.from_dict({"key": fields.String(load_only=True)}), load_default={"key": "s3same"})

    installed(spreads=SimpleNamespace(**{**vars(SCORE), "OptionsSchema": Secretive}))
    for form in ("table", "json"):
        shown = run(None, "plugins", "show", "spreads", "--local", "-o", form).stdout
        assert "(secret)" in shown
        assert "hunter2" not in shown
        assert "s3same" not in shown
