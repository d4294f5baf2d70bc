"""The runtime in memory passes what every runtime must."""

from __future__ import annotations

import time

import pytest

from newbon_core.hooks import RuntimeFailure
from newbon_core.testing.runtime import FakeRuntime
from newbon_core.testing.runtime_conformance import RuntimeConformance, Starter


class TestFakeRuntime(RuntimeConformance):
    @pytest.fixture
    def image(self) -> str:
        return "newbon/test:1"

    @pytest.fixture
    def runtime(self, image: str) -> FakeRuntime:
        return FakeRuntime(time.time, images={image: "sha256:aaaa"})

    def test_a_killed_engine_takes_its_containers_along(self, starter: Starter, runtime: FakeRuntime) -> None:
        container = starter.start()
        runtime.kill_engine()
        with pytest.raises(RuntimeFailure, match="does not answer") as caught:
            runtime.list()
        assert caught.value.retry
        runtime.away = False
        found = runtime.inspect(container.id)
        assert found is not None
        assert (found.state, found.exit_code) == ("exited", 137)

    def test_failures_are_injected_by_operation_and_subject(self, runtime: FakeRuntime) -> None:
        runtime.fails = lambda operation, subject: (
            RuntimeFailure("no", retry=True) if (operation, subject) == ("inspect", "x") else None
        )
        assert runtime.inspect("y") is None
        with pytest.raises(RuntimeFailure, match="no"):
            runtime.inspect("x")
