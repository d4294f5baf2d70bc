"""One cluster of three real hosts for all tests of this folder; each test uses a service of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from newbon_core.testing.cluster import RealCluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[RealCluster]:
    """Heartbeat 1 s and lost after 3 s, so that the loss of a host is soon over."""
    zones = {1: "a", 2: "b", 3: "b"}
    with RealCluster(
        hosts=3, heartbeat_s=1, lost_after_s=3, agent_labels=lambda number: {"zone": zones[number]}
    ) as running:
        yield running
