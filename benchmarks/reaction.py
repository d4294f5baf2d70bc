"""Apply -> the start order reaches the agent, on an idle system: a real server process and an agent's order stream.

The agent is the real client of the order stream without a runtime behind it. SQLite with synchronous=FULL, and etcd.
"""

from __future__ import annotations

import argparse
import contextlib
import queue
import statistics
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from _report import report

from newbon_core.client import AgentClient, Client, OrdersStream, ServerUnreachable, join
from newbon_core.model import NodeStatus
from newbon_core.model.wire import OrdersUpdate, Report
from newbon_core.testing.cluster import ServerProcess, service_document
from newbon_core.testing.etcd import EtcdCluster


def reactions(folder: Path, store: Mapping[str, object], samples: int) -> list[float]:
    """Milliseconds from sending the apply until the order is at the agent."""
    server = ServerProcess(folder, store=store, lost_after_s=3600)
    server.start(60)
    try:
        client = server.client()
        token = join(server.url, client.create_token("join")["token"] or "", "n1")
        agent = AgentClient(server.url, token)
        agent.register(
            NodeStatus(name="n1", cpu_millis=64000, memory_bytes=256 << 30, runtimes={"docker": "28"}, boot_id="1")
        )
        agent.report(Report(node="n1", boot_id="1", sent_at=time.time(), full=True))
        arrivals: queue.Queue[tuple[str, float]] = queue.Queue()
        orders = agent.orders()
        threading.Thread(target=_listen, args=(orders, arrivals), daemon=True).start()
        return [_one(client, arrivals, number) for number in range(samples + 5)][5:]
    finally:
        server.kill()


def _listen(orders: OrdersStream, arrivals: queue.Queue[tuple[str, float]]) -> None:
    # The end of the server ends the stream.
    with contextlib.suppress(ServerUnreachable):
        for update in orders:
            now = time.monotonic()
            if isinstance(update, OrdersUpdate):
                for order in update.orders:
                    arrivals.put((order.service, now))


def _one(client: Client, arrivals: queue.Queue[tuple[str, float]], number: int) -> float:
    name = f"reaction-{number}"
    begin = time.monotonic()
    client.apply([service_document(name, 1, "registry.example/web:1")])
    while True:
        service, arrived = arrivals.get(timeout=10)
        if service == name:
            time.sleep(0.05)  # so that the next sample finds an idle system
            return (arrived - begin) * 1000


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--samples", type=int, default=100)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="newbon-bench-") as name, EtcdCluster(1, Path(name) / "etcd") as etcd:
        folder = Path(name)
        stores: dict[str, Mapping[str, object]] = {
            "sqlite": {"kind": "sqlite"},
            "etcd": {"kind": "etcd", "endpoints": list(etcd.endpoints)},
        }
        measured = {kind: reactions(folder / kind, store, arguments.samples) for kind, store in stores.items()}
    rows, metrics = [], {}
    for kind, values in measured.items():
        cuts = statistics.quantiles(values, n=100, method="inclusive")
        rows.append((kind, f"{cuts[49]:.1f}", f"{cuts[98]:.1f}", f"{max(values):.1f}"))
        metrics |= {f"reaction_{kind}_median_ms": cuts[49], f"reaction_{kind}_p99_ms": cuts[98]}
    report(
        "apply -> the start order reaches the agent (ms: median, p99, longest)",
        {"samples": arguments.samples, "agents": 1},
        rows,
        metrics,
        json=arguments.json,
    )


if __name__ == "__main__":
    main()
