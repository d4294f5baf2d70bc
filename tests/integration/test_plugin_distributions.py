"""The plugin host against real distributions: built, installed, and discovered by a Python of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from newbon_core.testing.distributions import Distribution

pytestmark = pytest.mark.dist
ROOT = Path(__file__).resolve().parents[2]

SCORE = """
from newbon_core.hooks import hookimpl
import numpy as np

@hookimpl
def newbon_score_nodes(request, nodes):
    return np.zeros(len(nodes))
"""
PROBE = """
from newbon_core.hooks import ProbeResult, ProbeType, hookimpl

def ping(target, options, timeout_s):
    return ProbeResult(healthy=True, message="", latency_s=0)

@hookimpl
def newbon_probes():
    return [ProbeType(name="ping", probe=ping)]
"""
PER_NODE = """
from newbon_core.hooks import PerNodeFilter

class Even(PerNodeFilter):
    def check(self, request, node):
        return None if int(node.name[1:]) % 2 == 0 else f"parity: {node.name} is odd"
"""
OPTIONS = """
from marshmallow import Schema, fields
from newbon_core.hooks import hookimpl
import numpy as np

class OptionsSchema(Schema):
    strength = fields.Integer(load_default=3)

@hookimpl
def newbon_configure(options):
    global strength
    strength = options["strength"]

@hookimpl
def newbon_score_nodes(request, nodes):
    return np.full(len(nodes), float(strength))
"""
LIST = """
import json, sys
sys.path.insert(0, sys.argv[1])
from importlib import metadata
from pathlib import Path
from newbon_core.config import load_site
from newbon_core.hooks.host import PluginHost
from newbon_core.testing.bench import Bench, make_request

host = PluginHost.discover(load_site(Path(sys.argv[2])).plugins, dists=metadata.distributions(path=[sys.argv[1]]))
bench = Bench().node("n0").node("n1")
request = make_request()
print(json.dumps({
    "plugins": [info.document() for info in host.plugins],
    "warnings": host.warnings,
    "probes": sorted(host.probes),
    "imported": sorted(name for name in sys.modules if name.startswith("newbon_test_")),
    "rejected": [answer.verdict.reason(1) for answer in host.filter_nodes(request, bench.nodes(request))],
    "scores": [answer.scores.values.tolist() for answer in host.score_nodes(request, bench.nodes(request))],
}))
"""


def a_plugin(name: str, source: str, **changes: object) -> Distribution:
    """A distribution ``newbon-test-<name>`` with one module and one entry point of that name."""
    module = f"newbon_test_{name}"
    made: dict[str, object] = {
        "name": f"newbon-test-{name}",
        "files": {f"{module}.py": source},
        "entry_points": {name: module},
    }
    return Distribution(**(made | changes))  # type: ignore[arg-type]  # the keywords are those of Distribution


class Found:
    """What a fresh Python finds in a directory of installed distributions."""

    def __init__(self, document: dict[str, object]) -> None:
        self.warnings: list[str] = document["warnings"]
        self.probes: list[str] = document["probes"]
        self.imported: list[str] = document["imported"]
        self.rejected: list[str] = document["rejected"]
        self.scores: list[list[float]] = document["scores"]
        self.all: list[dict[str, object]] = document["plugins"]

    def __getitem__(self, name: str) -> dict[str, object]:
        (found,) = [info for info in self.all if info["name"] == name]
        return found


@pytest.fixture
def discover(tmp_path: Path):
    """``discover(distributions…, site="…")`` installs them and asks the host of another process about them."""

    def run(*distributions: Distribution, site: str = "") -> Found:
        installed = tmp_path / "site-packages"
        for distribution in distributions:
            distribution.install(installed)
        config = tmp_path / "newbon.toml"
        config.write_text(site)
        done = subprocess.run(
            [sys.executable, "-c", LIST, installed, config], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return Found(json.loads(done.stdout))

    return run


def test_a_sound_plugin_is_active_and_asked(discover):
    found = discover(a_plugin("good", SCORE, version="2.3"))
    assert found["good"]["status"] == "active"
    assert (found["good"]["distribution"], found["good"]["version"]) == ("newbon-test-good", "2.3")
    assert found["good"]["hooks"] == ["newbon_score_nodes"]
    assert found.scores == [[0.0, 0.0]]


def test_what_cannot_be_imported_is_listed_and_harms_nobody(discover):
    found = discover(
        a_plugin("absent", "import no_such_module_anywhere"),
        a_plugin("broken", "def f(:\n"),
        a_plugin("exits", "import sys\nsys.exit('I want out')"),
        a_plugin("good", SCORE),
        a_plugin("nowhere", "", entry_points={"nowhere": "newbon_test_nowhere:missing"}),
    )
    assert {info["name"]: info["status"] for info in found.all} == {
        "absent": "failed",
        "broken": "failed",
        "exits": "failed",
        "good": "active",
        "nowhere": "failed",
    }
    assert "No module named 'no_such_module_anywhere'" in found["absent"]["reason"]
    assert found["exits"]["reason"].endswith("SystemExit: I want out (newbon_test_exits.py line 2)")
    assert "SyntaxError" in found["broken"]["reason"]
    assert "newbon_test_broken.py, line 1" in found["broken"]["reason"]
    assert "I want out" in found["exits"]["reason"]
    assert "missing" in found["nowhere"]["reason"]
    assert any("newbon-test-broken 1.0" in warning for warning in found.warnings)


def test_what_is_incompatible_is_not_even_imported(discover):
    found = discover(
        a_plugin("future", SCORE, requires=["newbon-core>=99"]),
        a_plugin("newer", SCORE, requires_python=">=3.99"),
        a_plugin("garbled", SCORE, requires=["newbon-core ~~ nonsense"]),
        a_plugin("elsewhere", SCORE, requires=["newbon-core>=99; sys_platform == 'vms'"]),
    )
    assert found["future"]["status"] == "incompatible"
    assert found["future"]["reason"].startswith("it needs newbon-core >=99, this is ")
    assert found["newer"]["reason"].startswith("it needs Python >=3.99, this is ")
    assert found["garbled"]["reason"].startswith("its metadata cannot be understood")
    assert found["elsewhere"]["status"] == "active"
    assert found.imported == ["newbon_test_elsewhere"]


def test_a_name_claimed_twice_names_both_distributions(discover):
    found = discover(
        a_plugin("score_mine", SCORE),
        a_plugin("other", SCORE, version="3.0", entry_points={"score_mine": "newbon_test_other"}),
    )
    assert [info["status"] for info in found.all] == ["failed", "failed"]
    for info in found.all:
        assert "newbon-test-other 3.0 and newbon-test-score_mine 1.0" in info["reason"]
    assert found.imported == []


def test_a_provider_name_given_twice_belongs_to_neither(discover):
    found = discover(a_plugin("first", PROBE), a_plugin("second", PROBE))
    assert found.probes == []
    for name in ("first", "second"):
        assert "the probe 'ping' is provided by the plugins first and second" in found[name]["reason"]
    assert any("'ping'" in warning for warning in found.warnings)
    alone = discover(site='[plugins]\ndisabled = ["second"]\n')
    assert alone.probes == ["ping"]


def test_what_the_site_disables_is_not_imported(discover):
    plugins = (a_plugin("good", SCORE), a_plugin("broken", "1/0"), a_plugin("more", SCORE))
    found = discover(*plugins, site='[plugins]\ndisabled = ["broken"]\n')
    assert (found["broken"]["status"], found["broken"]["errors"]) == ("disabled", 0)
    assert "newbon_test_broken" not in found.imported
    only = discover(site='[plugins]\nenabled = ["more"]\n')
    assert [info["status"] for info in only.all] == ["disabled", "disabled", "active"]
    assert only.imported == ["newbon_test_more"]


def test_a_wrong_hook_is_told_with_the_right_one(discover):
    found = discover(
        a_plugin("misspelt", SCORE.replace("newbon_score_nodes", "newbon_score_node")),
        a_plugin("signature", SCORE.replace("(request, nodes)", "(request, node)").replace("len(nodes)", "1")),
        a_plugin("unmarked", SCORE.replace("@hookimpl", "")),
        a_plugin("empty", ""),
    )
    assert "did you mean 'newbon_score_nodes'" in found["misspelt"]["reason"]
    assert "newbon_score_nodes(request, nodes)" in found["signature"]["reason"]
    assert "put @hookimpl above it" in found["unmarked"]["reason"]
    assert "no hook" in found["empty"]["reason"]
    assert {info["status"] for info in found.all} == {"failed"}


def test_options_are_checked_by_the_plugins_own_schema(discover):
    sound = discover(a_plugin("tuned", OPTIONS), site="[plugins.tuned]\nstrength = 7\nweight = 2\n")
    assert sound.scores == [[7.0, 7.0]]
    assert (sound["tuned"]["options"], sound["tuned"]["weight"]) == ({"strength": 7}, 2.0)
    unknown = discover(site="[plugins.tuned]\nstrenght = 7\n")
    assert unknown["tuned"]["status"] == "failed"
    assert unknown["tuned"]["reason"].startswith("[plugins.tuned] strenght: ")
    assert "did you mean 'strength'" in unknown["tuned"]["reason"]
    wrong = discover(site='[plugins.tuned]\nstrength = "very"\nweight = -1\n')
    assert "'very'" in wrong["tuned"]["reason"]
    assert "[plugins.tuned] weight: -1 is not a number from 0" in wrong["tuned"]["reason"]


def test_a_filter_over_one_node_at_a_time_comes_from_a_third_party(discover):
    found = discover(a_plugin("even", PER_NODE, entry_points={"even": "newbon_test_even:Even"}))
    assert found["even"]["status"] == "active"
    assert found.rejected == ["parity: n1 is odd"]
    hint = discover(a_plugin("odd", PER_NODE))
    assert "newbon_test_odd:Even" in hint["odd"]["reason"]


def test_a_distribution_of_another_major_contract_is_not_seen(discover):
    assert discover(a_plugin("later", SCORE, group="newbon.v2")).all == []


def test_without_any_plugin_the_host_says_how_to_get_them(discover):
    (warning,) = discover(a_plugin("later", SCORE, group="newbon.v2")).warnings
    assert "pip install newbon-runtime-docker newbon-filter-resources" in warning


def test_a_plugin_that_prints_at_its_import_spoils_no_output(discover):
    found = discover(a_plugin("chatty", "print('hello')\n" + SCORE))
    assert found["chatty"]["status"] == "active"


def test_pip_takes_the_wheel_and_the_cli_lists_it(tmp_path):
    """The same by the tools that users have: pip install, newbon plugins."""
    wheel = a_plugin("good", SCORE).wheel(tmp_path)
    site = tmp_path / "site-packages"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", site, wheel]
    subprocess.run(pip, check=True, timeout=120)
    config = tmp_path / "newbon.toml"
    config.write_text('[plugins]\nenabled = ["good"]\n')
    environment = {**os.environ, "PYTHONPATH": f"{site}:{ROOT}", "NEWBON_CONFIG": str(config), "NO_COLOR": "1"}

    def newbon(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "newbon_core", *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    listed = {info["name"]: info for info in json.loads(newbon("plugins", "list", "--local", "-o", "json").stdout)}
    assert listed["good"]["status"] == "active"
    assert "score" in newbon("plugins", "show", "--local", "good").stdout
    assert newbon("plugins", "check", "good").returncode == 0
    whole = newbon("plugins", "check")
    assert whole.returncode == 1
    assert "no runtime plugin" in whole.stdout
    misspelt = newbon("plugins", "show", "--local", "goood")
    assert misspelt.returncode == 1
    assert "did you mean 'good'" in misspelt.stderr
    config.write_text('[plugins]\ndisabled = ["goood"]\n')
    refused = newbon("plugins", "list", "--local")
    assert refused.returncode == 1
    assert "[plugins] disabled" in refused.stderr
    assert "did you mean 'good'" in refused.stderr
