"""Through the whole server: API apply -> placed -> durable in etcd -> visible in the API, 5,000 simulated nodes.

The server is a process of its own, etcd another; the clock runs from sending the request until the API shows every
instance with its node. The nodes exist in the store only, without agents, so what was placed stays; nothing else is
simulated.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from _fleet import fill, nodes
from _report import report

from newbon_core.client import Client
from newbon_core.store.etcd import EtcdStore
from newbon_core.testing.cluster import ServerProcess, service_document
from newbon_core.testing.etcd import EtcdCluster

RESOURCES = {"cpu": 0.1, "memory": "64MiB"}


class Onlooker:
    """Follows the API's list of instances, as a user's program would, and knows which have a node."""

    def __init__(self, client: Client) -> None:
        self._placed: set[str] = set()
        self._seen = threading.Condition()
        self._watch = client.watch("/v1/instances")
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        for event in self._watch:
            with self._seen:
                if event.event == "put" and event.object["node"]:
                    self._placed.add(event.object["name"])
                elif event.event == "deleted":
                    self._placed.discard(event.object["name"])
                self._seen.notify_all()

    def wait(self, count: int) -> None:
        """Until exactly so many instances are seen with a node. Raises TimeoutError."""
        with self._seen:
            if not self._seen.wait_for(lambda: len(self._placed) == count, 120):
                raise TimeoutError(f"{count} instances with a node: the API shows {len(self._placed)}")


def one_run(client: Client, onlooker: Onlooker, services: int, replicas: int, run: int) -> float:
    """Instances per second of one apply."""
    names = [f"run{run}-{services}-{i}" for i in range(services)]
    documents = [service_document(name, replicas, "registry.example/web:1", resources=RESOURCES) for name in names]
    before = len(client.instances())
    count = before + services * replicas
    begin = time.monotonic()
    client.apply(documents)
    onlooker.wait(count)
    rate = services * replicas / (time.monotonic() - begin)
    placed = sum(one["node"] is not None for one in client.instances())
    if placed != count:
        raise RuntimeError(f"the API lists {placed} placed instances, not {count}")
    return rate


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--nodes", type=int, default=5000)
    arguments = parser.parse_args()
    version = subprocess.run(["etcd", "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    with tempfile.TemporaryDirectory(prefix="newbon-bench-") as folder, EtcdCluster(1, Path(folder) / "etcd") as etcd:
        store = EtcdStore(etcd.endpoints)
        fill(store, nodes(arguments.nodes, time.time()))
        store.close()
        server = ServerProcess(
            Path(folder) / "server", store={"kind": "etcd", "endpoints": list(etcd.endpoints)}, lost_after_s=3600
        )
        server.start(60)
        try:
            client = server.client(timeout_s=120)
            onlooker = Onlooker(server.client(timeout_s=120))
            one_run(client, onlooker, 1, 100, 0)
            group = [one_run(client, onlooker, 1, 1000, run) for run in range(1, arguments.runs + 1)]
            single = [one_run(client, onlooker, 1000, 1, run) for run in range(1, arguments.runs + 1)]
        finally:
            server.kill()
    rows = [
        ("one service of 1,000 instances", *(f"{v:,.0f}" for v in (statistics.median(group), *group))),
        ("1,000 services of one instance", *(f"{v:,.0f}" for v in (statistics.median(single), *single))),
    ]
    report(
        "API apply -> placed -> durable in etcd -> visible in the API (instances per second; median, then each run)",
        {"nodes": arguments.nodes, "store": version, "runs": arguments.runs},
        rows,
        {
            "durable_one_service_of_1000_per_s": statistics.median(group),
            "durable_1000_services_of_one_per_s": statistics.median(single),
        },
        json=arguments.json,
    )


if __name__ == "__main__":
    main()
