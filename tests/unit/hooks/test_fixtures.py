"""Newbon's pytest plugin is loaded by every pytest run of the environment, so it must be light and do nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata

import numpy as np
import pytest

from newbon_core.hooks import hookimpl
from newbon_core.testing.bench import make_request

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
