"""Through the whole server: API apply -> placed -> durable in etcd -> visible in the API, 5,000 simulated nodes.

The server is a process of its own, etcd another; the clock runs from sending the request until the API shows every
instance with its node. The nodes exist in the store only; nothing else is simulated.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from _fleet import fill, nodes
from _report import report
from newbon_core.store.etcd import EtcdStore
from newbon_core.testing.etcd import EtcdCluster

from newbon_core.client import Client
from newbon_core.testing.cluster import ServerProcess, service_document
from newbon_core.testing.testbed import wait_until

RESOURCES = {"cpu": 0.1, "memory": "64MiB"}


def placed(client: Client, names: list[str], count: int) -> bool:
    """True when the API shows so many instances of these services with a node."""
    services = {one["name"]: one for one in client.services()}
    return sum(services[name]["placed"] for name in names if name in services) == count


def one_run(client: Client, services: int, replicas: int, run: int) -> float:
    """Instances per second of one apply."""
    names = [f"run{run}-{services}-{i}" for i in range(services)]
    documents = [service_document(name, replicas, "registry.example/web:1", resources=RESOURCES) for name in names]
    count = services * replicas
    begin = time.monotonic()
    client.apply(documents)
    wait_until(lambda: placed(client, names, count), 120, f"{count} instances are placed", every_s=0.01)
    rate = count / (time.monotonic() - begin)
    assert all(one["node"] for one in client.instances(names[0])), "an instance that is counted has no node"
    for name in names:
        client.delete("service", name)
    wait_until(lambda: not client.services(), 120, "the services are gone", every_s=0.1)
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
            Path(folder) / "server", store={"kind": "etcd", "endpoints": list(etcd.endpoints)}, lost_after_s=36000
        )
        server.start(60)
        try:
            client = server.client(timeout_s=120)
            one_run(client, 1, 100, 0)
            group = [one_run(client, 1, 1000, run) for run in range(1, arguments.runs + 1)]
            single = [one_run(client, 1000, 1, run) for run in range(1, arguments.runs + 1)]
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
