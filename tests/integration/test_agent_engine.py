"""An engine that is killed and started again under a running agent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "agent"))

from agent_builders import order
from agent_fakes import FakeLink
from newbon_runtime_docker import DockerRuntime

from newbon_core.agent.identity import Identity
from newbon_core.agent.main import RunningAgent
from newbon_core.config import AgentSettings
from newbon_core.hooks import RuntimeFailure
from newbon_core.model.wire import OrdersUpdate
from newbon_core.testing.images import ensure_test_image
from newbon_core.testing.runtime_conformance import wait_for

pytestmark = pytest.mark.docker


class Engine:
    """A dockerd of its own, in namespaces of its own: it mounts what a kill leaves mounted, and an engine without a
    bridge removes that of the machine's engine."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.url = f"unix://{directory}/docker.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        run = self._directory / "run"
        for name in ("docker.pid", "containerd/containerd.pid"):
            (run / name).unlink(missing_ok=True)
        with (self._directory / "dockerd.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    "unshare", "--net", "--mount", "dockerd",
                    f"--data-root={self._directory}/data", f"--exec-root={run}", f"--pidfile={run}/docker.pid",
                    f"--host={self.url}", "--bridge=none", "--iptables=false",
                    "--cgroup-parent=/nbtest", "--exec-opt=native.cgroupdriver=cgroupfs", "--log-level=warn",
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        runtime = DockerRuntime({"base_url": self.url})

        def answers() -> bool:
            try:
                return bool(runtime.version())
            except RuntimeFailure:
                return False

        wait_for(answers, f"dockerd answers: {self._directory}/dockerd.log", within_s=60)
        runtime.close()

    def kill(self) -> None:
        """kill -9 of dockerd and its containerd, for they are one process group."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """SIGTERM, so that it unmounts what it mounted."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
            self._process = None


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    (tmp_path / "run").mkdir()
    engine = Engine(tmp_path)
    engine.start()
    yield engine
    engine.stop()


def test_an_agent_outlives_its_engine_and_uses_it_again(engine: Engine, tmp_path: Path) -> None:
    image = ensure_test_image(engine.url)
    link = FakeLink()
    link.full = (OrdersUpdate(revision=1, full=True, orders=(order(0, image=image), order(1, image=image))),)
    identity = Identity(tmp_path / "agent", "n1")
    identity.keep("id.secret")
    runtime = DockerRuntime({"base_url": engine.url})
    agent = RunningAgent(
        "n1", "http://127.0.0.1:1", None, identity, {"docker": runtime}, AgentSettings(), connect=lambda *_: link
    )
    agent.start()
    try:
        wait_for(lambda: link.states() == {"web-0": "running", "web-1": "running"}, "both run", within_s=60)
        engine.kill()
        wait_for(lambda: "docker" in link.reports[-1].runtime_errors, "the server hears that the engine is away")
        link.send(OrdersUpdate(revision=2, full=False, orders=(order(2, image=image),)))
        time.sleep(0.5)
        assert "web-2" not in link.states()
        engine.start()
        wait_for(lambda: link.states().get("web-2") == "running", "it starts what was ordered meanwhile", within_s=60)
        wait_for(lambda: not link.reports[-1].runtime_errors, "the server hears that it is back")
        told = link.states()
        real = {container.instance: container.state for container in runtime.list()}
        assert {name: state == "running" for name, state in told.items()} == {
            name: state == "running" for name, state in real.items()
        }
        link.send(OrdersUpdate(revision=3, full=True))
        wait_for(lambda: not runtime.list(), "all are removed", within_s=60)
    finally:
        agent.stop()
