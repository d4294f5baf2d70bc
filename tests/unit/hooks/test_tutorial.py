"""docs/plugins.md does what it says: its files are written out and its own tests are run, in a Python of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from newbon_core.config import load_site
from newbon_core.hooks import loader
from newbon_core.hooks.settings import PluginSettings

PAGE = Path(__file__).resolve().parents[3] / "docs" / "plugins.md"


def files_of_the_page() -> dict[str, str]:
    """Every code block that begins with a comment that is a file's name."""
    blocks = re.findall(r"^```(?:python|toml)\n# (\S+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return dict(blocks)


def test_the_tutorials_own_tests_pass(tmp_path):
    for name, text in files_of_the_page().items():
        (tmp_path / name).write_text(text)
    # Other plugins of this environment take seconds to load; Newbon's own is named instead of found.
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "newbon_core.testing.fixtures"]
    done = subprocess.run(
        [*command, "test_acme.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


@pytest.mark.dist
def test_the_tutorials_project_is_built_and_its_plugin_found(tmp_path):
    for name, text in files_of_the_page().items():
        (tmp_path / name).write_text(text)
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-index", "--no-build-isolation", "."]
    done = subprocess.run([*pip, "-w", "made"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = (tmp_path / "made").glob("acme_newbon_team-1.0-*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    assert sorted(path.name for path in site.glob("*.py")) == ["acme_team.py"]
    (found,) = loader.discover(PluginSettings(enabled=()), metadata.distributions(path=[str(site)]))
    assert (found.name, found.distribution, found.finding) == ("acme_team", "acme-newbon-team", "disabled")


def test_the_tutorials_site_file_is_one(tmp_path):
    (tmp_path / "newbon.toml").write_text(files_of_the_page()["newbon.toml"])
    plugins = load_site(tmp_path / "newbon.toml").plugins
    assert {"acme_team", "runtime_docker"} <= set(plugins.enabled)
    assert plugins.tables["acme_quiet"] == {"weight": 2.0, "full_at": 40}


def test_the_tutorials_entry_point_names_what_it_defines(tmp_path):
    files = files_of_the_page()
    (group,) = tomllib.loads(files["pyproject.toml"])["project"]["entry-points"].values()
    for target in group.values():
        module, _, attribute = target.partition(":")
        assert f"class {attribute}(" in files[f"{module}.py"]
