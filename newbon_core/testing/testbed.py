"""Several real hosts on one machine: each a network namespace with its own Docker engine, agent and address.

The hosts hang on a switch of their own (a bridge in a namespace of its own, so that the machine's firewall does not see
their frames); the machine itself is the host ``.254`` of their network. Needs root, dockerd, iproute2 and util-linux.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import IO, TypeVar

T = TypeVar("T")
NEEDED = ("dockerd", "docker-init", "containerd", "ip", "nsenter", "unshare")
_HOST_INIT = """
D=$0; N=$1; shift
hostname "$N"
mount --rbind /sys/fs/cgroup "$D/cg"; mount -t sysfs sysfs /sys; mount --rbind "$D/cg" /sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs /run
mount --bind "$D/etc" /etc/docker
mkdir -p /run/docker/plugins /run/lock
exec docker-init -- bash -c 'while :; do rm -f /run/docker.pid; "$@"; sleep 0.3; done' supervisor "$@"
"""


class TestbedError(Exception):
    """The testbed could not be built; says what is missing or what a program answered."""

    __test__ = False


def wait_until(condition: Callable[[], T], within_s: float, what: str, every_s: float = 0.02) -> T:
    """Poll ``condition`` until it is true and return its value. Raises TimeoutError that names ``what``."""
    deadline = time.monotonic() + within_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {within_s:g} s")
        time.sleep(every_s)


class Host:
    """One host of the testbed. ``directory`` holds its engine's data, socket and log."""

    def __init__(self, bed: Testbed, number: int) -> None:
        self.bed = bed
        self.number = number
        self.name = f"{bed.prefix}-n{number}"
        self.address = f"{bed.network}.{10 + number}"
        self.directory = bed.directory / f"n{number}"
        self.socket = self.directory / "docker.sock"
        self.engine_url = f"unix://{self.socket}"
        self._launcher: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    # --- power ---

    def power_on(self) -> None:
        """Start the host's engine; ``ready`` tells when it answers."""
        for folder in ("data", "etc", "cg"):
            (self.directory / folder).mkdir(parents=True, exist_ok=True)
        self.socket.unlink(missing_ok=True)
        self._log = (self.directory / "dockerd.log").open("ab")
        self._launcher = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{self.name}", "unshare", "--mount", "--uts", "--propagation", "private",
             "--pid", "--fork", "--kill-child=KILL", "--mount-proc",
             "bash", "-c", _HOST_INIT, str(self.directory), self.name, *self._engine_command()],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, start_new_session=True,
        )  # fmt: skip

    def _engine_command(self) -> list[str]:
        bridge = f"{self.bed.containers}.{self.number}"
        return [
            "dockerd", f"--data-root={self.directory}/data", "--exec-root=/run/docker", "--pidfile=/run/docker.pid",
            f"--host={self.engine_url}", f"--host=tcp://{self.address}:2375", "--tls=false",
            f"--bip={bridge}.1/24", f"--fixed-cidr={bridge}.0/24",
            "--iptables=true", "--userland-proxy=false", f"--cgroup-parent=/{self.name}",
            "--exec-opt", "native.cgroupdriver=cgroupfs", "--storage-driver=overlay2", "--log-driver=json-file",
            "--log-opt", "max-size=1m", "--log-level=warn", "--shutdown-timeout=5",
        ]  # fmt: skip

    def power_off(self) -> None:
        """Pull the plug: every process of the host dies at once, containers too."""
        if self._launcher is not None:
            self._launcher.kill()
            self._launcher.wait()
            self._launcher = None
        if self._log is not None:
            self._log.close()
            self._log = None

    @property
    def powered(self) -> bool:
        """True while the host runs."""
        return self._launcher is not None and self._launcher.poll() is None

    def ready(self, within_s: float = 30) -> None:
        """Wait until the engine answers. Raises TimeoutError with the end of its log."""
        try:
            wait_until(lambda: self._answers(), within_s, f"the engine of {self.name} answers")
        except TimeoutError as error:
            tail = (self.directory / "dockerd.log").read_text(errors="replace")[-1500:]
            raise TimeoutError(f"{error}\n{tail}") from error

    def _answers(self) -> bool:
        if not self.powered:
            raise TestbedError(f"the engine of {self.name} ended: {self.directory}/dockerd.log")
        return self.socket.exists() and self.docker("version", check=False).returncode == 0

    # --- the cable ---

    def cut(self) -> None:
        """Pull the network cable."""
        self.bed.ip("-n", self.bed.switch, "link", "set", f"n{self.number}", "down")

    def mend(self) -> None:
        """Plug it in again."""
        self.bed.ip("-n", self.bed.switch, "link", "set", f"n{self.number}", "up")

    # --- use ---

    def docker(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """The docker client against this host's engine."""
        command = ["docker", "-H", self.engine_url, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if check and done.returncode != 0:
            raise TestbedError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done

    def command(self, *arguments: str) -> list[str]:
        """A command line that runs ``arguments`` inside the host, as one of its own processes."""
        assert self._launcher is not None, f"{self.name} is off"
        children = Path(f"/proc/{self._launcher.pid}/task/{self._launcher.pid}/children")
        first = wait_until(lambda: children.read_text().split(), 5, f"{self.name} has a first process")[0]
        return ["nsenter", "-t", first, "-m", "-n", "-u", "-p", "--wd=/", "--", *arguments]

    def spawn(self, *arguments: str, log: str) -> subprocess.Popen[bytes]:
        """Start a process inside the host; its output goes to the file ``log`` in the host's directory."""
        with (self.directory / log).open("ab") as output:
            return subprocess.Popen(
                self.command(*arguments), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )

    def kill_engine(self) -> None:
        """kill -9 of dockerd alone; the host's supervisor starts it again at once, as systemd would."""
        subprocess.run(self.command("pkill", "-KILL", "-x", "dockerd"), check=True, timeout=10)


class Testbed:
    """``with Testbed(hosts=3) as bed: bed.hosts[0].docker("ps")``. Everything is gone afterwards.

    Several testbeds may run at once; each takes a free number of 16 and with it networks of its own,
    ``10.<112+n>.0.0/24`` for hosts and ``10.<112+n>.<host>.0/24`` for their containers.
    """

    __test__ = False

    def __init__(self, hosts: int = 3, directory: Path | None = None) -> None:
        missing = [program for program in NEEDED if shutil.which(program) is None]
        if missing or os.geteuid() != 0:
            raise TestbedError(f"the testbed needs root and the programs {', '.join(missing) or 'that it has'}")
        self._lock, number = _claim_number()
        self._own_directory = directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix="newbon-testbed-"))
        self.prefix = f"nbt{number}"
        self.switch = f"{self.prefix}-sw"
        self.network = f"10.{112 + number}.0"
        self.containers = f"10.{112 + number}"
        self.address = f"{self.network}.254"
        self.hosts = [Host(self, i) for i in range(1, hosts + 1)]
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Testbed:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Build the network and start every engine, all at once. About two seconds for three hosts."""
        self._remove_network()
        self._build_network()
        for host in self.hosts:
            host.power_on()
        with ThreadPoolExecutor(len(self.hosts)) as pool:
            list(pool.map(Host.ready, self.hosts))

    def close(self) -> None:
        """Power everything off and remove every trace."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        for host in self.hosts:
            host.power_off()
        self._remove_network()
        for host in self.hosts:
            _remove_cgroups(host.name)
        if self._own_directory:
            shutil.rmtree(self.directory, ignore_errors=True)
        self._lock.close()

    def ip(self, *arguments: str, check: bool = True) -> None:
        """The ip command. Raises TestbedError."""
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=20)
        if check and done.returncode != 0:
            raise TestbedError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")

    def load_image(self, archive: Path) -> None:
        """Load one saved image into every engine, so that its id is the same everywhere."""
        with ThreadPoolExecutor(len(self.hosts)) as pool:
            list(pool.map(lambda host: host.docker("load", "-q", "-i", str(archive)), self.hosts))

    def spawn(self, *arguments: str, log: str) -> subprocess.Popen[bytes]:
        """Start a process on the machine itself; it dies with the testbed."""
        with (self.directory / log).open("ab") as output:
            process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        self._processes.append(process)
        return process

    def _build_network(self) -> None:
        self.ip("netns", "add", self.switch)
        self.ip("-n", self.switch, "link", "set", "lo", "up")
        self.ip("-n", self.switch, "link", "add", "br0", "type", "bridge")
        self.ip("-n", self.switch, "link", "set", "br0", "up")
        up = f"{self.prefix}-up"
        self.ip("link", "add", up, "type", "veth", "peer", "name", "uplink", "netns", self.switch)
        self.ip("-n", self.switch, "link", "set", "uplink", "master", "br0", "up")
        self.ip("addr", "add", f"{self.address}/24", "dev", up)
        self.ip("link", "set", up, "up")
        for host in self.hosts:
            self.ip("netns", "add", host.name)
            self.ip("-n", host.name, "link", "set", "lo", "up")
            port = f"n{host.number}"
            self.ip("-n", host.name, "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", self.switch)
            self.ip("-n", self.switch, "link", "set", port, "master", "br0", "up")
            self.ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", "eth0")
            self.ip("-n", host.name, "link", "set", "eth0", "up")
            self.ip("-n", host.name, "route", "add", "default", "via", self.address)
        for host in self.hosts:
            self.ip("route", "replace", f"{self.containers}.{host.number}.0/24", "via", host.address)
            for other in self.hosts:
                if other is not host:
                    network = f"{self.containers}.{other.number}.0/24"
                    self.ip("-n", host.name, "route", "add", network, "via", other.address)

    def _remove_network(self) -> None:
        for name in (self.switch, *(host.name for host in self.hosts)):
            self.ip("netns", "del", name, check=False)
        self.ip("link", "del", f"{self.prefix}-up", check=False)


def python_command(module: str, *arguments: str) -> Sequence[str]:
    """A command line that runs a module of this Python, also inside a host."""
    return [sys.executable, "-m", module, *arguments]


def _claim_number() -> tuple[IO[str], int]:
    for number in range(16):
        lock = open(f"/tmp/newbon-testbed-{number}.lock", "w")  # noqa: SIM115  held until close()
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock, number
        lock.close()
    raise TestbedError("sixteen testbeds run already")


def _remove_cgroups(name: str) -> None:
    for top in _cgroup_folders(name):
        for folder, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)


def _cgroup_folders(name: str) -> Iterator[Path]:
    root = Path("/sys/fs/cgroup")
    yield from (folder for folder in (root / name, *(one / name for one in root.iterdir())) if folder.is_dir())
