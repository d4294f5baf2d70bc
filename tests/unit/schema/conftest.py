"""Makes ``schema_builders`` importable beside the tests, and gives the plugin sets that they need."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from schema_builders import Host


@pytest.fixture
def host():
    """A host with a docker runtime and a plugin for every field."""
    return Host.full()


@pytest.fixture
def bare():
    """A host with a docker runtime and nothing else."""
    return Host.bare()
