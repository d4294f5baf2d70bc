"""Makes ``cli_fakes`` importable beside the tests, and keeps the machine's own settings out of them."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from cli_fakes import FakeClient


@pytest.fixture
def client() -> FakeClient:
    """A client double that holds one service of three instances on three nodes."""
    return FakeClient()


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable and no home of this machine reaches a command."""
    for name in [name for name in os.environ if name.startswith("NEWBON_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "empty.toml").write_text(f'[server]\ndata_dir = "{tmp_path}/data"\n')
    monkeypatch.setenv("NEWBON_CONFIG", str(tmp_path / "empty.toml"))
