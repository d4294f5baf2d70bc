"""From the built wheels into an empty environment: exactly the plugins that a site chose, and what is missing."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from newbon_core.testing.cluster import free_port
from newbon_core.testing.images import ensure_test_image
from newbon_core.testing.testbed import wait_until

pytestmark = [pytest.mark.dist, pytest.mark.docker]
ROOT = Path(__file__).resolve().parents[2]
ENGINE = "unix:///var/run/docker.sock"


class Site:
    """An environment of its own with a data directory and a configuration of its own."""

    def __init__(self, folder: Path, wheels: Path) -> None:
        self.folder = folder
        self.wheels = wheels
        self.bin = folder / "venv" / "bin"
        self.port = free_port()
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True, timeout=120)
        config = folder / "newbon.toml"
        config.write_text(f'[server]\nlisten = "127.0.0.1:{self.port}"\ndata_dir = "{folder}/data"\n')
        self.environment = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "HOME": str(folder),
            "NEWBON_CONFIG": str(config),
            "NEWBON_SERVER": f"http://127.0.0.1:{self.port}",
        }

    def install(self, *names: str) -> None:
        """pip install by name, the wheels first."""
        command = [self.bin / "pip", "install", "-q", "--find-links", self.wheels, *names]
        subprocess.run(command, check=True, timeout=600)

    def newbon(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command as the site's user."""
        return subprocess.run(
            [self.bin / "newbon", *arguments], env=self.environment, input=stdin, capture_output=True, text=True,
            timeout=120,
        )  # fmt: skip

    @contextlib.contextmanager
    def up(self) -> Iterator[None]:
        """``newbon up`` for as long as the block lasts."""
        with (self.folder / "up.log").open("wb") as log:
            process = subprocess.Popen([self.bin / "newbon", "up"], env=self.environment, stdout=log, stderr=log)
        try:
            wait_until(self._ready, 30, "newbon up is ready", every_s=0.1)
            yield
        finally:
            process.terminate()
            process.wait(20)

    def _ready(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=2):
            return True
        return False


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    targets = [ROOT, *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, *targets]
    subprocess.run(command, check=True, timeout=300)
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> Site:
    made = Site(tmp_path_factory.mktemp("site"), wheels)
    made.install("newbon-core")
    return made


def document(image: str) -> str:
    return json.dumps({"kind": "Service", "name": "wheel", "image": image, "resources": {"cpu": 0.1}})


def test_the_core_alone_says_what_is_missing_and_how_to_get_it(site: Site) -> None:
    listed = site.newbon("plugins", "list")
    assert "pip install newbon-runtime-docker" in listed.stdout + listed.stderr
    refused = site.newbon("validate", "-f", "-", stdin=document("web:1"))
    assert refused.returncode == 1
    assert "pip install newbon-runtime-docker" in refused.stderr
    assert "pip install newbon-filter-resources" in refused.stderr


def test_a_chosen_set_of_plugins_is_a_working_engine(site: Site) -> None:
    site.install("newbon-filter-resources", "newbon-score-spread", "newbon-runtime-docker")
    listed = json.loads(site.newbon("plugins", "list", "-o", "json").stdout)
    assert sorted(one["name"] for one in listed) == ["filter_resources", "runtime_docker", "score_spread"]
    image = ensure_test_image(ENGINE)
    with site.up():
        applied = site.newbon("apply", "-f", "-", "--wait", "--timeout", "60s", stdin=document(image))
        assert applied.returncode == 0, applied.stdout + applied.stderr
        shown = json.loads(site.newbon("get", "instances", "-o", "json").stdout)
        assert [one["state"] for one in shown] == ["running"]
        constrained = json.loads(document(image)) | {"schedule": {"constraints": ["node.labels.disk == ssd"]}}
        refused = site.newbon("apply", "-f", "-", stdin=json.dumps(constrained))
        assert refused.returncode == 1
        assert "pip install newbon-filter-constraints" in refused.stderr
        assert site.newbon("delete", "service", "wheel").returncode == 0
        command = ["docker", "ps", "-q", "--filter", "label=newbon.service=wheel"]
        wait_until(lambda: not subprocess.check_output(command).strip(), 30, "its container is gone", every_s=0.2)
