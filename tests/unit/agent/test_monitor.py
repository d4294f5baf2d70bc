"""Load from cgroup files of both versions, in trees that the tests bring along."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from newbon_core.agent.cgroups import locate, read_usage
from newbon_core.agent.monitor import HostCounters, Monitor
from newbon_core.hooks import Container

NET = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    9999       2    0    0    0     0          0         0     9999       2    0    0    0     0       0          0
  eth0:    {received}       2    0    0    0     0          0         0      {sent}       0    0    0    0     0       0          0
"""  # noqa: E501  as the kernel writes it


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


class V1:
    """A tree as of a machine with one mount per controller, cpu and cpuacct together."""

    group = "/docker/abc"
    lines = "9:name=systemd:{g}\n8:pids:{g}\n4:memory:{g}\n2:cpu,cpuacct:{g}\n0::{g}\n"

    def fill(self, root: Path, cpu_s: float, memory: int, inactive: int) -> None:
        base = root / "sys/fs/cgroup"
        write(base / "cpu,cpuacct/docker/abc/cpuacct.usage", f"{int(cpu_s * 1e9)}\n")
        write(base / "memory/docker/abc/memory.usage_in_bytes", f"{memory}\n")
        write(
            base / "memory/docker/abc/memory.stat", f"cache 5\ninactive_file 1\ntotal_inactive_file {inactive}\nx 1\n"
        )
        write(base / "pids/docker/abc/pids.current", "3\n")


class V2:
    """A tree with the unified hierarchy only."""

    group = "/system.slice/docker-abc.scope"
    lines = "0::{g}\n"

    def fill(self, root: Path, cpu_s: float, memory: int, inactive: int) -> None:
        base = root / "sys/fs/cgroup/system.slice/docker-abc.scope"
        write(base / "cpu.stat", f"usage_usec {int(cpu_s * 1e6)}\nuser_usec 1\nsystem_usec 2\n")
        write(base / "memory.current", f"{memory}\n")
        write(base / "memory.stat", f"anon 5\nactive_inactive_file 7\ninactive_file {inactive}\n")
        write(base / "pids.current", "3\n")


@pytest.fixture(params=[V1(), V2()], ids=["v1", "v2"])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> V1 | V2:
    tree: V1 | V2 = request.param
    write(tmp_path / "proc/77/cgroup", tree.lines.format(g=tree.group))
    write(tmp_path / "proc/77/net/dev", NET.format(received=1000, sent=500))
    tree.fill(tmp_path, cpu_s=10.0, memory=5000, inactive=1000)
    return tree


CONTAINER = Container(
    id="c", uid="u", instance="web-0", service="web", revision=1, state="running", pid=77, address="172.17.0.2"
)


def test_the_first_look_gives_no_sample_the_second_gives_rates(tree: V1 | V2, tmp_path: Path) -> None:
    monitor = Monitor(root=tmp_path, host=lambda: HOST)
    assert monitor.containers([CONTAINER], 100.0) == ()
    tree.fill(tmp_path, cpu_s=11.0, memory=7000, inactive=1500)
    write(tmp_path / "proc/77/net/dev", NET.format(received=3000, sent=900))
    (sample,) = monitor.containers([CONTAINER], 102.0)
    assert (sample.instance, sample.uid, sample.time) == ("web-0", "u", 102.0)
    assert sample.cpu_cores == pytest.approx(0.5)
    assert (sample.memory_bytes, sample.pids) == (5500, 3)
    assert (sample.receive_bytes_s, sample.transmit_bytes_s) == (1000.0, 200.0)


def test_a_container_that_is_gone_gives_nothing(tree: V1 | V2, tmp_path: Path) -> None:
    del tree
    monitor = Monitor(root=tmp_path, host=lambda: HOST)
    monitor.containers([CONTAINER], 100.0)
    for file in (tmp_path / "sys").rglob("*"):
        if file.is_file():
            file.unlink()
    assert monitor.containers([CONTAINER], 102.0) == ()
    assert monitor.containers([replace(CONTAINER, pid=78), replace(CONTAINER, pid=None)], 104.0) == ()


def test_a_container_on_the_hosts_network_has_none_of_its_own(tree: V1 | V2, tmp_path: Path) -> None:
    del tree
    files = locate(77, tmp_path)
    assert files is not None
    usage = read_usage(files, network=False)
    assert usage is not None
    assert (usage.receive_bytes, usage.transmit_bytes) == (0, 0)


def test_a_process_outside_any_group_is_not_measured(tmp_path: Path) -> None:
    write(tmp_path / "proc/1/cgroup", "0::/\n")
    assert locate(1, tmp_path) is None
    assert locate(2, tmp_path) is None


HOST = HostCounters(
    busy_s=100.0, cpu_count=2, memory_used_bytes=5, memory_total_bytes=10, disk_used_bytes=1, disk_total_bytes=2,
    receive_bytes=1000, transmit_bytes=500, load1=0.5,
)  # fmt: skip


def test_the_hosts_rates_come_from_differences() -> None:
    readings = [HOST, replace(HOST, busy_s=103.0, receive_bytes=3000, transmit_bytes=100)]
    monitor = Monitor(lambda: readings.pop(0))
    first = monitor.host(100.0)
    assert (first.cpu_cores, first.receive_bytes_s, first.load1) == (0.0, 0.0, 0.5)
    second = monitor.host(102.0)
    assert (second.cpu_cores, second.receive_bytes_s, second.transmit_bytes_s) == (1.5, 1000.0, 0.0)


def test_this_very_host_can_be_measured() -> None:
    sample = Monitor().host(1.0)
    assert 0 < sample.memory_used_bytes < sample.memory_total_bytes
    assert 0 < sample.disk_used_bytes < sample.disk_total_bytes
    assert sample.cpu_count >= 1
