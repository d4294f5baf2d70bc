"""A real etcd of one member or several on this machine, for tests and benchmarks; members can be killed."""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

START_S = 30.0
"""How long a cluster may take to answer."""


class EtcdMissing(Exception):
    """There is no etcd on this machine; the text says how to get it."""


class EtcdFailed(Exception):
    """A member did not start; the text holds the end of what it printed."""


def etcd_program() -> str:
    """The path of the ``etcd`` program. Raises EtcdMissing."""
    found = shutil.which("etcd") or shutil.which("etcd", path="/usr/local/bin:/usr/bin:/usr/sbin")
    if found is None:
        raise EtcdMissing("there is no program 'etcd' on this machine: apt-get install etcd-server")
    return found


class EtcdCluster:
    """Members on free ports of 127.0.0.1, their data below ``directory``. Use it as a context manager, or ``close`` it.

    ``flags`` are further flags for every member. Raises EtcdMissing and EtcdFailed.
    """

    def __init__(self, members: int, directory: Path, flags: Sequence[str] = (), scheme: str = "http") -> None:
        self._program = etcd_program()
        self._directory = directory
        self._flags = flags
        self._scheme = scheme
        self._ports = _free_ports(2 * members)
        self._processes: list[subprocess.Popen[bytes] | None] = [None] * members
        self._health: dict[int, str] = {}
        directory.mkdir(parents=True, exist_ok=True)
        try:
            for number in range(members):
                self._launch(number)
            for number in range(members):
                self._await(number)
        except BaseException:
            self.close()
            raise

    @property
    def endpoints(self) -> tuple[str, ...]:
        """``host:port`` of every member, whether it runs or not."""
        return tuple(self.endpoint(number) for number in range(len(self._processes)))

    def endpoint(self, number: int) -> str:
        """``host:port`` of one member."""
        return f"127.0.0.1:{self._ports[2 * number]}"

    def process_id(self, number: int) -> int | None:
        """The process of one member, None while it is killed."""
        process = self._processes[number]
        return process.pid if process is not None else None

    def kill(self, number: int = 0) -> None:
        """SIGKILL to one member; returns when it is gone."""
        process = self._processes[number]
        if process is not None:
            process.kill()
            process.wait()
            self._processes[number] = None

    def start(self, number: int = 0, wait: bool = True) -> None:
        """Start a member that was killed; it finds its data again. With ``wait`` returns when it serves."""
        if self._processes[number] is None:
            self._launch(number)
        if wait:
            self._await(number)

    def _launch(self, number: int) -> None:
        client, peer = (f"{self._scheme}://{self.endpoint(number)}", f"http://127.0.0.1:{self._ports[2 * number + 1]}")
        peers = [f"m{one}=http://127.0.0.1:{self._ports[2 * one + 1]}" for one in range(len(self._processes))]
        options = {
            "--name": f"m{number}",
            "--data-dir": str(self._directory / f"m{number}"),
            "--listen-client-urls": client,
            "--advertise-client-urls": client,
            "--listen-peer-urls": peer,
            "--initial-advertise-peer-urls": peer,
            "--initial-cluster": ",".join(peers),
            "--initial-cluster-token": str(self._directory),
            "--listen-metrics-urls": f"http://127.0.0.1:{_free_ports(1)[0]}",
            "--logger": "zap",
            "--log-outputs": "stderr",
        }
        command = [self._program, *(word for option in options.items() for word in option), *self._flags]
        with self._log(number).open("ab") as output:
            self._processes[number] = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        self._health[number] = options["--listen-metrics-urls"]

    def _await(self, number: int) -> None:
        deadline = time.monotonic() + START_S
        while not self._is_healthy(number):
            process = self._processes[number]
            if process is None or process.poll() is not None or time.monotonic() > deadline:
                raise EtcdFailed(f"etcd member {number} did not start: {self._log(number).read_text()[-2000:]}")
            time.sleep(0.05)

    def _is_healthy(self, number: int) -> bool:
        try:
            with urllib.request.urlopen(f"{self._health[number]}/health", timeout=2) as answer:
                return b'"true"' in answer.read()
        except (urllib.error.URLError, OSError):
            return False

    def _log(self, number: int) -> Path:
        return self._directory / f"m{number}.log"

    def close(self) -> None:
        """Kill every member. The data stays."""
        for number in range(len(self._processes)):
            self.kill(number)

    def __enter__(self) -> EtcdCluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _free_ports(count: int) -> list[int]:
    """Ports below those that the system gives to outgoing connections, so that a killed member finds its own free."""
    ports: list[int] = []
    chosen = random.SystemRandom()
    while len(ports) < count:
        port = chosen.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in ports:
            ports.append(port)
    return ports
