"""Distributions as importlib.metadata gives them, sound and damaged."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import newbon_core
from newbon_core.hooks import loader
from newbon_core.hooks.settings import PluginSettings

ROOT = Path(__file__).resolve().parents[3]


class Dist(metadata.Distribution):
    """A distribution in memory; a text that is an exception is raised instead."""

    def __init__(self, name="acme", points="[newbon.v1]\nacme = json\n", requires=(), version="1.0", **texts):
        lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {one}" for one in requires)]
        self.texts = {"entry_points.txt": points, "METADATA": "\n".join(lines) + "\n"} | texts

    def read_text(self, filename):
        text = self.texts.get(filename)
        if isinstance(text, Exception):
            raise text
        return text

    def locate_file(self, path):
        return Path(path)


def findings(*dists, settings=None):
    return [(one.name, one.finding, one.reason) for one in loader.discover(settings or PluginSettings(), dists)]


def test_an_entry_point_is_loaded():
    (found,) = loader.discover(PluginSettings(), [Dist()])
    assert (found.name, found.finding, found.plugin.__name__) == ("acme", "loaded", "json")


def test_plugins_come_sorted_by_name_however_they_lie_on_the_disk():
    dists = [Dist(name=name, points=f"[newbon.v1]\n{name} = json\n") for name in ("c", "a", "b")]
    assert [one.name for one in loader.discover(PluginSettings(), dists)] == ["a", "b", "c"]


def test_unrelated_distributions_are_neither_parsed_nor_a_matter_of_ours():
    unreadable = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
    assert findings(Dist(points=None), Dist(points="[console_scripts]\nx = y\n"), Dist(points=unreadable)) == []


def test_a_damaged_distribution_of_ours_is_listed_and_the_others_are_used():
    broken = Dist(points="[newbon.v1]\nacme = json\n", METADATA=OSError("read error"))
    (bad, good) = sorted(findings(broken, Dist(name="good")), key=lambda one: one[1])
    assert (bad[1], good[:2]) == ("failed", ("acme", "loaded"))
    assert "cannot be read" in bad[2]


def test_of_a_distribution_that_is_found_twice_the_first_counts():
    first, second = Dist(name="Acme_Plugin", version="2.0"), Dist(name="acme-plugin", version="1.0")
    (found,) = loader.discover(PluginSettings(), [first, second])
    assert (found.version, found.finding) == ("2.0", "loaded")


def test_a_name_that_one_distribution_gives_twice_is_its_own_mistake():
    both = findings(Dist(points="[newbon.v1]\nacme = json\nacme = csv\n"))
    assert [finding for _, finding, _ in both] == ["failed", "failed"]
    assert both[0][2] == (
        "acme 1.0 itself names 'acme' more than once, as 'json' and 'csv'; let its entry points name it once"
    )


@pytest.mark.parametrize("name", ["Upper", "with-dash", "1st", "enabled", "disabled", "order", "newbon"])
def test_a_name_that_cannot_stand_in_the_sites_file_is_refused(name):
    ((_, finding, reason),) = findings(Dist(points=f"[newbon.v1]\n{name} = json\n"))
    assert finding == "failed"
    assert "cannot be a plugin's name" in reason


@pytest.mark.parametrize(
    ("requires", "finding"),
    [
        (["newbon-core"], "loaded"),
        (["newbon_core[etcd]>=0.1"], "loaded"),
        (["numpy>=999"], "loaded"),
        (["newbon-core>=99; extra == 'later'"], "loaded"),
        (["newbon-core @ file:///somewhere"], "loaded"),
        (["Newbon.Core>=99"], "incompatible"),
        (["newbon-core!=0.1.0,<0.1.1"], "incompatible"),
        (["newbon-core>=1; nonsense == 'x'"], "incompatible"),
    ],
)
def test_only_what_is_required_of_the_core_decides(requires, finding, monkeypatch):
    monkeypatch.setattr(loader, "core_version", lambda: "0.1.0")
    assert findings(Dist(requires=requires))[0][1] == finding


def test_a_core_under_development_is_good_enough_for_its_own_plugins(monkeypatch):
    monkeypatch.setattr(loader, "core_version", lambda: "0.2.0.dev3")
    assert findings(Dist(requires=["newbon-core>=0.1,<1"]))[0][1] == "loaded"


def test_the_version_that_plugins_are_held_against_is_that_of_the_distribution():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert loader.core_version() == newbon_core.__version__ == project["version"]
