"""Doing actions: failures are results, pulls get the login of their registry, threads are made as far as needed."""

from __future__ import annotations

import threading
import time

import pytest
from agent_builders import IMAGE, IMAGE_ID

from newbon_core.agent.actions import EnsureImage, ListContainers, LookAt, Result
from newbon_core.agent.workers import ThreadWorkers, perform, registry_of
from newbon_core.hooks import Container, RegistryCredentials, RuntimeFailure
from newbon_core.testing.runtime import FakeRuntime
from newbon_core.testing.runtime_conformance import wait_for


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("web:1", "docker.io"),
        ("library/web", "docker.io"),
        ("registry.example/shop/web:1.4", "registry.example"),
        ("registry:5000/web", "registry:5000"),
        ("localhost/web", "localhost"),
    ],
)
def test_the_registry_of_an_image(image: str, registry: str) -> None:
    assert registry_of(image) == registry


def test_a_pull_gets_the_login_of_its_registry_and_no_other() -> None:
    login = RegistryCredentials("me", "secret")
    runtime = FakeRuntime(registry={"registry.example/web:1": "sha256:b", "web:1": "sha256:c"})
    for image in ("registry.example/web:1", "web:1"):
        result = perform(EnsureImage("docker", image), {"docker": runtime}, {"registry.example": login})
        assert result.image_id
    assert runtime.credentials_seen == [login, None]
    assert "secret" not in repr(login)


def test_what_a_runtime_refuses_is_the_results_failure() -> None:
    runtime = FakeRuntime(fails=lambda *_: RuntimeFailure("no", retry=True))
    failure = perform(ListContainers("docker", 0), {"docker": runtime}).failure
    assert failure is not None
    assert (failure.message, failure.retry) == ("no", True)
    nobody = perform(ListContainers("podman", 0), {"docker": runtime}).failure
    assert nobody is not None
    assert nobody.message == "runtime 'podman' is not on this node"


def test_a_runtimes_bug_is_told_and_ends_nothing() -> None:
    class Broken(FakeRuntime):
        def inspect(self, container_id: str) -> Container | None:
            raise KeyError(container_id)

    failure = perform(LookAt("docker", "u", "c"), {"docker": Broken()}).failure
    assert failure is not None
    assert failure.message == "runtime docker: KeyError: 'c'"


def test_actions_run_beside_each_other_and_idle_threads_are_used_again() -> None:
    together = threading.Barrier(3, timeout=5)

    class Meeting(FakeRuntime):
        def has_image(self, image: str) -> str | None:
            together.wait()
            return super().has_image(image)

    results: list[Result] = []
    runtime = Meeting(time.time, images={IMAGE: IMAGE_ID})
    workers = ThreadWorkers({"docker": runtime}, results.append, lambda *_: None)
    for round_ in range(2):
        for _ in range(3):
            workers.submit(EnsureImage("docker", IMAGE))
        wait_for(lambda count=3 * (round_ + 1): len(results) == count, "all are done")  # type: ignore[misc]  mypy cannot infer lambdas with defaults
        time.sleep(0.01)
    assert len(workers._threads) == 3
    workers.close()
    workers.submit(EnsureImage("docker", IMAGE))
    assert len(results) == 6
