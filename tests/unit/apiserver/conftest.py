"""Makes ``api_builders`` importable beside the tests."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from api_builders import Api


@pytest.fixture
def api() -> Api:
    """An API over an empty store in memory; nothing runs beside it."""
    return Api()
