"""The demo does what the README says, twice, and cleans up."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.docker
ROOT = Path(__file__).resolve().parents[2]


def test_the_demo_deploys_fetches_explains_and_cleans_up() -> None:
    for _ in range(2):
        done = subprocess.run(
            [ROOT / "script" / "demo", "--check"], capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.count("200  ") == 3
        assert "The demo works" in done.stdout
    listing = ["docker", "ps", "-q", "--filter", "label=newbon.service=web"]
    assert not subprocess.check_output(listing).strip()
