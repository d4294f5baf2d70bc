"""A real agent on the Docker engine of this machine, killed where it hurts."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from newbon_core.testing.cluster import NEWBON, ServerProcess, service_document
from newbon_core.testing.images import ensure_test_image
from newbon_core.testing.testbed import wait_until

pytestmark = pytest.mark.docker
URL = "unix:///var/run/docker.sock"


class AgentProcess:
    """``newbon agent`` as a process of its own."""

    def __init__(self, directory: Path, server: ServerProcess) -> None:
        self.node = f"test-{uuid.uuid4().hex[:8]}"
        self._directory = directory
        self._server = server
        directory.mkdir()
        self._config = directory / "agent.toml"
        self._config.write_text(
            f'[server]\ndata_dir = "{directory}/data"\n[plugins.runtime_docker]\nbase_url = "{URL}"\n'
        )
        self._token = directory / "join.token"
        self._token.write_text(server.client().create_token("join")["token"])
        self._token.chmod(0o600)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._directory / "agent.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*NEWBON, "agent", "--server", self._server.url, "--token-file", str(self._token), "--name", self.node],
                env=os.environ | {"NEWBON_CONFIG": str(self._config)},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def stop(self) -> int:
        assert self._process is not None
        self._process.terminate()
        code = self._process.wait(20)
        self._process = None
        return code

    def log(self) -> str:
        return (self._directory / "agent.log").read_text(errors="replace")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path / "server")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def agent(tmp_path: Path, server: ServerProcess) -> Iterator[AgentProcess]:
    ensure_test_image(URL)
    agent = AgentProcess(tmp_path / "agent", server)
    agent.start()
    yield agent
    agent.kill()
    api = docker.APIClient(base_url=URL)
    for container in containers_of(agent.node):
        api.remove_container(container["Id"], force=True, v=True)


def containers_of(node: str) -> list[dict[str, object]]:
    """Every container of a node, by the engine's own word."""
    found: list[dict[str, object]] = docker.APIClient(base_url=URL).containers(
        all=True, filters={"label": f"newbon.node={node}"}
    )
    return found


def running(server: ServerProcess, service: str) -> list[str]:
    return [one["name"] for one in server.client().instances(service) if one["state"] == "running"]


def test_an_agent_killed_again_and_again_while_it_starts_makes_each_container_once(
    server: ServerProcess, agent: AgentProcess
) -> None:
    document = service_document("crash", 8, ensure_test_image(URL), restart={"policy": "never"})
    client = server.client()
    client.apply([document])
    dice = random.Random(7)
    for _ in range(4):
        time.sleep(dice.uniform(0.4, 1.2))
        agent.kill()
        agent.start()

    def is_settled() -> bool:
        states = {one["name"]: one["state"] for one in client.instances("crash")}
        return len(states) >= 8 and set(states.values()) <= {"running", "failed"}

    wait_until(is_settled, 60, "every instance runs or has failed", every_s=0.1)
    found = containers_of(agent.node)
    uids = [container["Labels"]["newbon.uid"] for container in found]  # type: ignore[index]  JSON of the engine
    assert len(set(uids)) == len(uids), "one container for each uid"
    names = set(running(server, "crash"))
    alive = {c["Labels"]["newbon.instance"] for c in found if c["State"] == "running"}  # type: ignore[index]  JSON of the engine
    assert alive == names, agent.log()
    client.delete("service", "crash")
    wait_until(lambda: not containers_of(agent.node), 30, "all containers are removed", every_s=0.1)


def test_containers_outlive_their_agent_and_its_server(server: ServerProcess, agent: AgentProcess) -> None:
    client = server.client()
    client.apply([service_document("live", 2, ensure_test_image(URL))])
    wait_until(lambda: len(running(server, "live")) == 2, 30, "both run", every_s=0.1)
    before = {container["Id"] for container in containers_of(agent.node)}
    server.kill()
    assert agent.stop() == 0
    assert {container["Id"] for container in containers_of(agent.node) if container["State"] == "running"} == before
    agent.start()
    time.sleep(1.0)
    victim = next(iter(sorted(before)))
    docker.APIClient(base_url=URL).kill(str(victim))
    server.start()

    def alive() -> set[object]:
        return {container["Id"] for container in containers_of(agent.node) if container["State"] == "running"}

    wait_until(lambda: len(alive()) == 2, 40, "the killed one is replaced", every_s=0.1)
    assert alive() & before == before - {victim}
    client.delete("service", "live")
    wait_until(lambda: not containers_of(agent.node), 30, "all containers are removed", every_s=0.1)


def test_what_is_not_newbons_is_never_touched(server: ServerProcess, agent: AgentProcess) -> None:
    api = docker.APIClient(base_url=URL)
    image = ensure_test_image(URL)
    mine = [
        api.create_container(image, command=["sleep", "60"], labels=labels)["Id"]
        for labels in ({}, {"newbon.uid": "x", "newbon.node": agent.node, "newbon.owner": "another"})
    ]
    try:
        for container in mine:
            api.start(container)
        client = server.client()
        client.apply([service_document("guest", 1, image)])
        wait_until(lambda: len(running(server, "guest")) == 1, 30, "it runs", every_s=0.1)
        client.delete("service", "guest")
        wait_until(lambda: len(containers_of(agent.node)) == 1, 30, "it is removed", every_s=0.1)
        assert [api.inspect_container(container)["State"]["Running"] for container in mine] == [True, True]
    finally:
        for container in mine:
            api.remove_container(container, force=True)
