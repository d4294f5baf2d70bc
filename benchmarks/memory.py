"""Memory of the server process with 100,000 running instances on 5,000 nodes: at rest, and after lists and applies."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import psutil
from _fleet import fill, nodes, running_instances
from _report import report

from newbon_core.store.sqlite import SqliteStore
from newbon_core.testing.cluster import ServerProcess, service_document

MIB = 1 << 20


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--instances", type=int, default=100_000)
    parser.add_argument("--nodes", type=int, default=5000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="newbon-bench-") as name:
        server = ServerProcess(Path(name), lost_after_s=3600)
        (Path(name) / "data").mkdir(mode=0o700)
        store = SqliteStore(Path(name) / "data" / "newbon.db")
        now = time.time()
        objects = [*nodes(arguments.nodes, now), *running_instances(arguments.instances, 100, arguments.nodes, now)]
        fill(store, objects)
        store.close()
        begin = time.monotonic()
        server.start(180)
        started = time.monotonic() - begin
        try:
            process = psutil.Process(server.pid)
            at_rest = process.memory_info().rss / MIB
            client = server.client(timeout_s=120)
            client.apply([service_document("more", 1000, "registry.example/web:1")])
            listed = len(client.instances())
            client.nodes()
            after = process.memory_info().rss / MIB
        finally:
            server.kill()
    report(
        "memory of the server (MiB)",
        {"nodes": arguments.nodes, "instances": arguments.instances, "listed": listed, "store": "sqlite"},
        [("at rest", f"{at_rest:.0f}"), ("after listing all and an apply of 1,000", f"{after:.0f}"),
         ("seconds from start to ready", f"{started:.1f}")],
        {"memory_at_rest_mib": at_rest, "memory_after_use_mib": after, "memory_start_s": started},
        json=arguments.json,
    )  # fmt: skip


if __name__ == "__main__":
    main()
