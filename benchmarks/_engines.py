"""What the host benchmarks share: timing containers ordered by Newbon, by the plain SDK and by Docker Swarm."""

from __future__ import annotations

import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import docker

from newbon_core.testing.cluster import RealCluster, service_document
from newbon_core.testing.testbed import Testbed, wait_until

PORTS = [{"name": "http", "port": 8080}]


def median_of(runs: int, measure: Callable[[], float]) -> tuple[float, list[float]]:
    """The median of so many runs, and all of them."""
    values = [measure() for _ in range(runs)]
    return statistics.median(values), values


def no_containers(bed: Testbed, label: str) -> bool:
    """True when no host has a container with this label, running or not."""
    return all(not host.docker("ps", "-aq", "--filter", f"label={label}").stdout.strip() for host in bed.hosts)


def newbon_start(cluster: RealCluster, replicas: int) -> float:
    """Seconds from apply until the API shows all replicas running; the service is deleted afterwards."""
    begin = time.monotonic()
    cluster.client.apply([service_document("bench", replicas, cluster.image, ports=PORTS)])
    watch_running(cluster, "bench", replicas, 120)
    taken = time.monotonic() - begin
    cluster.client.delete("service", "bench")
    wait_until(lambda: not cluster.client.instances("bench"), 120, "the service is gone", every_s=0.2)
    remove_containers(cluster.bed)
    return taken


def watch_running(
    cluster: RealCluster, service: str, count: int, within_s: float, *, nodes: Sequence[str] | None = None
) -> None:
    """Until the API has told that exactly so many instances run (on ``nodes`` alone, if given). Raises TimeoutError.

    It watches: asking again and again would load the machine that is measured.
    """
    watch = cluster.client.watch("/v1/instances", params={"service": service})
    timer = threading.Timer(within_s, watch.close)
    timer.start()
    running: dict[str, str | None] = {}
    try:
        for event in watch:
            if event.event == "reset":
                running.clear()
            elif event.event == "put" and event.object["state"] == "running":
                running[event.object["name"]] = event.object["node"]
            elif event.event != "synced":
                running.pop(event.object["name"], None)
            # Only an event with a revision ends a state that is complete.
            fine = event.revision and len(running) == count
            if fine and (nodes is None or all(node in nodes for node in running.values())):
                return
    finally:
        timer.cancel()
        watch.close()
    raise TimeoutError(f"{count} instances of {service} run: not within {within_s:g} s\n{cluster.logs()}")


def remove_containers(bed: Testbed) -> None:
    """Remove what is left of finished containers, so that every run starts on empty engines."""
    for host in bed.hosts:
        left = host.docker("ps", "-aq", "--filter", "status=exited").stdout.split()
        if left:
            host.docker("rm", "-f", *left, check=False)


def sdk_start(bed: Testbed, image: str, replicas: int, threads: int) -> float:
    """Seconds until so many threads of the plain Docker SDK have created and started all containers."""
    clients = [docker.DockerClient(base_url=host.engine_url, timeout=120) for host in bed.hosts]
    image_id = clients[0].images.get(image).id

    def start(number: int) -> None:
        api = clients[number % len(clients)].api
        made = api.create_container(image_id, name=f"sdk-{number}", labels={"bench": "sdk"}, detach=True)
        api.start(made["Id"])

    begin = time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(start, range(replicas)))
    taken = time.monotonic() - begin
    for host in bed.hosts:
        left = host.docker("ps", "-aq", "--filter", "label=bench=sdk").stdout.split()
        if left:
            host.docker("rm", "-f", *left)
    for client in clients:
        client.close()
    return taken


class Swarm:
    """Docker Swarm on the testbed's engines; the first host is the manager. ``with Swarm(bed) as swarm``."""

    def __init__(self, bed: Testbed, *, heartbeat: str | None = None) -> None:
        self.bed = bed
        self.manager = bed.hosts[0]
        self._heartbeat = heartbeat
        self._api = docker.APIClient(base_url=self.manager.engine_url, timeout=120)

    def __enter__(self) -> Swarm:
        first = self.manager
        pool = f"10.{200 + int(self.bed.prefix.removeprefix('nbt'))}.0.0/16"
        first.docker("swarm", "init", "--advertise-addr", first.address, "--listen-addr", f"{first.address}:2377",
                     "--data-path-addr", first.address, "--default-addr-pool", pool,
                     "--default-addr-pool-mask-length", "24")  # fmt: skip
        token = first.docker("swarm", "join-token", "-q", "worker").stdout.strip()
        for host in self.bed.hosts[1:]:
            host.docker("swarm", "join", "--token", token, "--advertise-addr", host.address, "--listen-addr",
                        f"{host.address}:2377", f"{first.address}:2377")  # fmt: skip
        if self._heartbeat:
            first.docker("swarm", "update", "--dispatcher-heartbeat", self._heartbeat)
        return self

    def __exit__(self, *_: object) -> None:
        self._api.close()
        for host in reversed(self.bed.hosts):
            if host.powered:
                host.docker("swarm", "leave", "--force", check=False)

    def create(self, name: str, image: str, replicas: int, *options: str) -> None:
        """Create a service by the image's id, so that no engine tries to pull."""
        image_id = self.manager.docker("images", "-q", "--no-trunc", image).stdout.split()[0]
        self.manager.docker("service", "create", "-d", "-q", "--no-resolve-image", "--name", name, "--replicas",
                            str(replicas), *options, image_id)  # fmt: skip

    def running(self, name: str) -> int:
        """How many tasks the manager sees running."""
        tasks = self._api.tasks(filters={"service": name, "desired-state": "running"})
        return sum(task["Status"]["State"] == "running" for task in tasks)

    def start(self, image: str, replicas: int) -> float:
        """Seconds from create until all tasks run; the service is removed afterwards."""
        begin = time.monotonic()
        self.create("bench", image, replicas)
        wait_until(lambda: self.running("bench") == replicas, 120, "all tasks run", every_s=0.05)
        taken = time.monotonic() - begin
        self.manager.docker("service", "rm", "bench")
        label = "com.docker.swarm.service.name=bench"
        wait_until(lambda: no_containers(self.bed, label), 120, "all tasks are gone", every_s=0.2)
        return taken


def conditions() -> dict[str, object]:
    """What a reader needs to know of the machine."""
    engine = subprocess.run(["dockerd", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return {"engine": engine}
