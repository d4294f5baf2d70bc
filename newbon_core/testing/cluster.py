"""Real Newbon processes to test against: a server that can be killed, and a whole cluster on a testbed."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from newbon_core.client import Client, ClientError
from newbon_core.client.views import InstanceView
from newbon_core.testing.images import ensure_test_image
from newbon_core.testing.testbed import Host, Testbed, wait_until

NEWBON = (sys.executable, "-m", "newbon_core")


def free_port(address: str = "127.0.0.1") -> int:
    """A TCP port that is free on ``address`` now."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


class ServerProcess:
    """``newbon server`` as a process of its own, with its data, configuration and log in ``directory``.

    ``store`` is ``{"kind": "sqlite"}`` or ``{"kind": "etcd", "endpoints": [...]}``; ``sections`` is further TOML text.
    """

    def __init__(
        self,
        directory: Path,
        *,
        address: str = "127.0.0.1",
        store: Mapping[str, object] | None = None,
        heartbeat_s: float = 2.0,
        lost_after_s: float = 10.0,
        sections: str = "",
    ) -> None:
        self.directory = directory
        self.url = f"http://{address}:{free_port(address)}"
        self.log = directory / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        self.config = directory / "server.toml"
        lines = ["[server]", f'listen = "{self.url.removeprefix("http://")}"', f'data_dir = "{directory}/data"']
        lines += ["[store]", *(f"{key} = {_toml(value)}" for key, value in (store or {"kind": "sqlite"}).items())]
        lines += ["[nodes]", f"heartbeat_s = {heartbeat_s}", f"lost_after_s = {lost_after_s}", sections]
        self.config.write_text("\n".join(lines) + "\n")

    def start(self, within_s: float = 30) -> None:
        """Start it and wait until it is ready. Raises TimeoutError with the end of its log."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*NEWBON, "server"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env=os.environ | {"NEWBON_CONFIG": str(self.config)},
            )  # fmt: skip
        try:
            wait_until(self._ready, within_s, "the server is ready", every_s=0.05)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.log.read_text(errors='replace')[-3000:]}") from error

    def _ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise TimeoutError(f"the server ended with exit code {self._process.returncode}")
        with contextlib.suppress(ClientError, OSError):
            Client(self.url, None, timeout_s=2).ready()
            return True
        return False

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def stop(self, within_s: float = 20) -> int:
        """SIGTERM, and wait; returns the exit code. Raises subprocess.TimeoutExpired."""
        assert self._process is not None, "the server is not running"
        self._process.terminate()
        code = self._process.wait(within_s)
        self._process = None
        return code

    def admin_token(self) -> str:
        """The token that the server made at its first start."""
        return (self.directory / "data" / "admin.token").read_text().strip()

    def client(self, timeout_s: float = 30) -> Client:
        """A client with the admin token."""
        return Client(self.url, self.admin_token(), timeout_s=timeout_s)


class RealCluster:
    """A testbed with a server on the machine and an agent on every host, each named ``n1``, ``n2``, …

    ``with RealCluster(hosts=3) as cluster: cluster.client.apply(…)``. ``agent_labels(number)`` gives a host's labels.
    """

    def __init__(
        self,
        hosts: int = 3,
        *,
        store: Mapping[str, object] | None = None,
        heartbeat_s: float = 2.0,
        lost_after_s: float = 10.0,
        agent_labels: Callable[[int], Mapping[str, str]] = lambda number: {},  # noqa: ARG005  no labels by default
    ) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="newbon-cluster-", ignore_cleanup_errors=True)
        self.directory = Path(self._directory.name)
        self.bed = Testbed(hosts, self.directory)
        self._agent_labels = agent_labels
        self._settings = {"store": store, "heartbeat_s": heartbeat_s, "lost_after_s": lost_after_s}
        self._agents: dict[str, subprocess.Popen[bytes]] = {}
        self.image = ""

    def __enter__(self) -> RealCluster:
        try:
            self.bed.start()
            self.server = ServerProcess(self.directory / "server", address=self.bed.address, **self._settings)  # type: ignore[arg-type]  # the settings of __init__, unchanged
            self.server.start()
            self.client = self.server.client()
            self.load_image()
            self._join_token = self.client.create_token("join", description="testbed")["token"]
            for host in self.bed.hosts:
                self.start_agent(host)
            self.wait_ready(len(self.bed.hosts))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End everything and remove every trace."""
        if hasattr(self, "server"):
            self.server.kill()
        self.bed.close()
        for process in self._agents.values():
            process.wait()
        self._directory.cleanup()

    def load_image(self) -> None:
        """Build the example image on the first host and give it to all, so that it has one id."""
        first = self.bed.hosts[0]
        self.image = ensure_test_image(first.engine_url)
        archive = self.directory / "image.tar"
        first.docker("save", "-o", str(archive), self.image)
        self.bed.load_image(archive)

    # --- agents ---

    def start_agent(self, host: Host) -> None:
        """Start the agent of a host as one of the host's own processes."""
        name = f"n{host.number}"
        data = host.directory / "agent"
        data.mkdir(exist_ok=True)
        labels = "".join(f'"{key}" = "{value}"\n' for key, value in self._agent_labels(host.number).items())
        config = host.directory / "agent.toml"
        config.write_text(
            f'[server]\ndata_dir = "{data}"\n[agent.labels]\n{labels}'
            f'[plugins.runtime_docker]\nbase_url = "{host.engine_url}"\n'
        )
        token_file = host.directory / "join.token"
        token_file.write_text(self._join_token)
        token_file.chmod(0o600)
        self._agents[name] = host.spawn(
            "env", f"NEWBON_CONFIG={config}", f"PYTHONPATH={os.environ.get('PYTHONPATH', '')}", *NEWBON, "agent",
            "--server", self.server.url, "--token-file", str(token_file), "--name", name, log="agent.log",
        )  # fmt: skip

    def kill_agent(self, host: Host) -> None:
        """kill -9 of the agent alone; its containers go on."""
        process = self._agents.pop(f"n{host.number}")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def power_off(self, host: Host) -> None:
        """Pull a host's plug, with its agent and its containers."""
        host.power_off()
        process = self._agents.pop(f"n{host.number}", None)
        if process is not None:
            process.wait()

    # --- looking ---

    def wait_ready(self, nodes: int, within_s: float = 30) -> None:
        """Wait until so many nodes are ready."""

        def ready() -> bool:
            return sum(node["state"] == "ready" for node in self.client.nodes()) >= nodes

        try:
            wait_until(ready, within_s, f"{nodes} nodes are ready", every_s=0.1)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.logs()}") from error

    def running(self, service: str) -> list[InstanceView]:
        """The running instances of a service, by the API."""
        return [one for one in self.client.instances(service) if one["state"] == "running"]

    def wait_running(
        self, service: str, count: int, within_s: float = 60, *, nodes: Sequence[str] | None = None
    ) -> list[InstanceView]:
        """Wait until exactly ``count`` instances run (on ``nodes`` alone, if given). TimeoutError holds the logs."""

        def settled() -> list[InstanceView]:
            found = self.running(service)
            fine = len(found) == count and (nodes is None or all(one["node"] in nodes for one in found))
            return found if fine else []

        try:
            return wait_until(settled, within_s, f"{count} instances of {service} run", every_s=0.03)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.logs()}") from error

    def containers(self, host: Host) -> set[str]:
        """The uids of the containers of Newbon that run on a host, by its engine."""
        listing = host.docker("ps", "--filter", "label=newbon.uid", "--format", '{{.Label "newbon.uid"}}')
        return set(listing.stdout.split())

    def logs(self) -> str:
        """The ends of all logs, for a failure message."""
        files = [self.server.log, *(host.directory / "agent.log" for host in self.bed.hosts)]
        return "\n".join(f"--- {file}\n{file.read_text(errors='replace')[-1500:]}" for file in files if file.exists())


def service_document(name: str, replicas: int, image: str, **fields: object) -> dict[str, object]:
    """A small service of the example image, as a document."""
    return {"kind": "Service", "name": name, "image": image, "replicas": replicas, **fields}


def _toml(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    return f'"{value}"'
