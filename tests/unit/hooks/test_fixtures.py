"""Newbon's pytest plugin is loaded by every pytest run of the environment, so it must be light and do nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata

import numpy as np
import pytest
from marshmallow import Schema, fields

from newbon_core.hooks import Verdict, hookimpl
from newbon_core.testing.plugins import Bench, PluginSettings, host_of, make_request

PLUGIN = "newbon_core.testing.fixtures"


def run(code, cwd):
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(
        [sys.executable, *code], cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_it_is_what_pytest_finds_by_itself():
    (entry,) = [one for one in metadata.entry_points(group="pytest11") if one.dist.name == "newbon-core"]
    assert entry.value == PLUGIN


def test_it_imports_nothing_heavy(tmp_path):
    heavy = ("numpy", "marshmallow", "flask")
    done = run(["-c", f"import sys, {PLUGIN}; print(*(name for name in {heavy} if name in sys.modules))"], tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, "")


def test_a_foreign_run_is_left_alone(tmp_path):
    (tmp_path / "conftest.py").write_text("import pytest\n@pytest.fixture\ndef bench():\n    return 'mine'\n")
    (tmp_path / "test_foreign.py").write_text(
        "import sys\ndef test_it(bench):\n    assert bench == 'mine' and 'newbon_core.scheduler' not in sys.modules\n"
    )
    done = run(["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", PLUGIN, "-W", "error"], tmp_path)
    assert done.returncode == 0, done.stdout


class Nothing:
    @hookimpl
    def newbon_filter_nodes(self, nodes):
        return np.zeros(len(nodes), dtype=bool)


class Misspelt:
    @hookimpl
    def newbon_filter_node(self, nodes):
        return None


def test_plugin_host_takes_plugins_by_name(plugin_host):
    assert [info.name for info in plugin_host(one=Nothing, two=Nothing()).plugins] == ["one", "two"]


def test_plugin_host_fails_the_test_of_a_plugin_that_fails(plugin_host):
    with pytest.raises(AssertionError, match="bad is failed: there is no hook 'newbon_filter_node'"):
        plugin_host(bad=Misspelt)


def test_bench_places_and_explains_with_the_real_scheduler(plugin_host, bench):
    bench.node("n1").node("n2")
    group = bench.place(plugin_host(nothing=Nothing), make_request(count=2))
    assert group.nodes == [None, None]
    assert "nothing" in group.summary()


class Tuned:
    class OptionsSchema(Schema):
        level = fields.Integer(load_default=1)

    @hookimpl
    def newbon_configure(self, options):
        self.level = options["level"]

    @hookimpl
    def newbon_score_nodes(self, nodes):
        return np.full(len(nodes), self.level)


class Broken:
    @hookimpl
    def newbon_score_nodes(self, nodes):
        raise RuntimeError("no")


def test_plugin_host_takes_options_and_two_hosts_keep_their_own(plugin_host):
    nodes = Bench().node("n1").nodes(make_request())
    hosts = [plugin_host(tuned=Tuned, options={"tuned": {"level": level}}) for level in (3, 5)]
    values = [host.score_nodes(make_request(), nodes)[0].scores.values.tolist() for host in hosts]
    assert values == [[3.0], [5.0]]
    with pytest.raises(AssertionError, match="there is no option 'levle'"):
        plugin_host(tuned=Tuned, options={"tuned": {"levle": 3}})
    settings = PluginSettings(tables={"tuned": {"level": 7}})
    assert plugin_host(settings, tuned=Tuned).options_of("tuned") == {"level": 7}


def test_a_plugin_that_fails_when_it_is_asked_fails_the_test_unless_the_host_is_lenient(plugin_host, bench):
    bench.node("n1")
    with pytest.raises(AssertionError, match="the plugin broken failed: RuntimeError: no"):
        bench.place(host_of(broken=Broken), make_request())
    lenient = plugin_host(broken=Broken, strict=False)
    assert bench.place(lenient, make_request()).nodes == ["n1"]
    assert lenient.plugin("broken").last_error == "RuntimeError: no"


def test_a_reason_that_fails_fails_the_explanation_of_a_strict_host(bench):
    class Mute:
        @hookimpl
        def newbon_filter_nodes(self, nodes):
            return Verdict(np.zeros(len(nodes), dtype=bool), lambda index: "")

    with pytest.raises(AssertionError, match="it must give a sentence"):
        bench.node("n1").explain(host_of(mute=Mute), make_request())
