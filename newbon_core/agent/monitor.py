"""How busy the host and its containers are: gauges now, rates from what changed since the last look."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from newbon_core.agent.cgroups import CgroupFiles, Usage, locate, read_usage
from newbon_core.hooks import Container
from newbon_core.model.wire import ContainerSample, HostSample

_VIRTUAL = ("lo", "veth", "docker", "br-", "cali", "vxlan", "tunl", "virbr")


@dataclass(frozen=True, slots=True)
class HostCounters:
    """The host at one moment; ``busy_s`` is cpu time over all cores."""

    busy_s: float
    cpu_count: int
    memory_used_bytes: int
    memory_total_bytes: int
    disk_used_bytes: int
    disk_total_bytes: int
    receive_bytes: int
    transmit_bytes: int
    load1: float


class HostReader(Protocol):
    """Where host counters come from."""

    def __call__(self) -> HostCounters: ...


@dataclass(frozen=True, slots=True)
class PsutilHost:
    """The host by psutil. ``disk`` is a path on the disk that matters, such as the data directory."""

    disk: str = "/"

    def __call__(self) -> HostCounters:
        """Read everything now."""
        times = psutil.cpu_times()
        memory = psutil.virtual_memory()
        disk = psutil.disk_usage(self.disk)
        interfaces = [
            counters for name, counters in psutil.net_io_counters(pernic=True).items() if not name.startswith(_VIRTUAL)
        ]
        return HostCounters(
            busy_s=sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0),
            cpu_count=len(os.sched_getaffinity(0)),
            memory_used_bytes=memory.total - memory.available,
            memory_total_bytes=memory.total,
            disk_used_bytes=disk.used,
            disk_total_bytes=disk.total,
            receive_bytes=sum(counters.bytes_recv for counters in interfaces),
            transmit_bytes=sum(counters.bytes_sent for counters in interfaces),
            load1=os.getloadavg()[0],
        )


@dataclass(slots=True)
class _Watched:
    """A container between two samples."""

    pid: int
    files: CgroupFiles
    usage: Usage
    at: float


class Monitor:
    """Not thread-safe. The first sample of a host has rates of 0; a container gives none before its second look, for a
    rate that is not known must not be taken for idleness."""

    def __init__(self, host: HostReader | None = None, root: Path = Path("/")) -> None:
        self._read_host = host or PsutilHost()
        self._root = root
        self._host: HostCounters | None = None
        self._host_at = 0.0
        self._watched: dict[str, _Watched] = {}

    def host(self, now: float) -> HostSample:
        """The host since the last call. ``now`` is seconds since the epoch."""
        counters, before, elapsed = self._read_host(), self._host, now - self._host_at
        self._host, self._host_at = counters, now
        cpu = receive = transmit = 0.0
        if before is not None and elapsed > 0:
            cpu = _rate(counters.busy_s, before.busy_s, elapsed)
            receive = _rate(counters.receive_bytes, before.receive_bytes, elapsed)
            transmit = _rate(counters.transmit_bytes, before.transmit_bytes, elapsed)
        return HostSample(
            time=now,
            cpu_cores=min(cpu, float(counters.cpu_count)),
            cpu_count=counters.cpu_count,
            memory_used_bytes=counters.memory_used_bytes,
            memory_total_bytes=counters.memory_total_bytes,
            disk_used_bytes=counters.disk_used_bytes,
            disk_total_bytes=counters.disk_total_bytes,
            receive_bytes_s=receive,
            transmit_bytes_s=transmit,
            load1=counters.load1,
        )

    def containers(self, running: Iterable[Container], now: float) -> tuple[ContainerSample, ...]:
        """Each running container since the last call; those that are no longer given are forgotten."""
        samples: list[ContainerSample] = []
        watched: dict[str, _Watched] = {}
        for container in running:
            if container.pid is None:
                continue
            found = self._look(container, container.pid, now)
            if found is None:
                continue
            watched[container.id] = found
            before = self._watched.get(container.id)
            if before is not None and before.pid == found.pid and now > before.at:
                samples.append(_sample(container, before, found))
        self._watched = watched
        return tuple(samples)

    def _look(self, container: Container, pid: int, now: float) -> _Watched | None:
        before = self._watched.get(container.id)
        files = before.files if before is not None and before.pid == pid else locate(pid, self._root)
        if files is None:
            return None
        # A container without an address of its own shares the host's network, whose bytes are not its own.
        usage = read_usage(files, network=container.address is not None)
        return _Watched(pid, files, usage, now) if usage is not None else None


def _sample(container: Container, before: _Watched, found: _Watched) -> ContainerSample:
    elapsed = found.at - before.at
    return ContainerSample(
        instance=container.instance,
        uid=container.uid,
        time=found.at,
        cpu_cores=_rate(found.usage.cpu_s, before.usage.cpu_s, elapsed),
        memory_bytes=found.usage.memory_bytes,
        receive_bytes_s=_rate(found.usage.receive_bytes, before.usage.receive_bytes, elapsed),
        transmit_bytes_s=_rate(found.usage.transmit_bytes, before.usage.transmit_bytes, elapsed),
        pids=found.usage.pids,
    )


def _rate(value: float, before: float, elapsed: float) -> float:
    """Per second; a counter that went back (an interface that was made anew) counts as no change."""
    return max(0.0, value - before) / elapsed
