"""A real server in this process: SQLite in a directory of its own, HTTP on a port of its own, the installed plugins."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from newbon_core.client import AgentClient, Client, OrdersStream, join
from newbon_core.config import NodeSettings, Site, parse_site
from newbon_core.model import InstanceState, InstanceStatus, NodeStatus
from newbon_core.model.wire import Order, OrdersUpdate, Report, StreamRequest
from newbon_core.server import RunningServer, run_server


def site_at(directory: Path, **more: Any) -> Site:
    """Embedded defaults below ``directory``, on a free port."""
    return replace(parse_site({}), data_dir=directory / "data", listen="127.0.0.1:0", **more)


@contextmanager
def serving(directory: Path, **more: Any) -> Iterator[RunningServer]:
    """A server that is stopped in the end, whatever happens."""
    server = run_server(site_at(directory, **more))
    try:
        yield server
    finally:
        server.stop()


def wait_until(what: Callable[[], Any], within_s: float = 10.0, told: str = "it") -> Any:
    """The first true value of ``what``; AssertionError when the time is over."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        time.sleep(0.005)
    raise AssertionError(f"{told} did not happen within {within_s} s")


class FakeAgent:
    """An agent without containers: whatever is ordered runs at once, and is told so."""

    def __init__(self, server: RunningServer, node: str, join_token: str, *, obedient: bool = True) -> None:
        self.node = node
        self.client = AgentClient(server.url, join(server.url, join_token, node))
        self.heard: list[tuple[float, OrdersUpdate]] = []
        self.requests: list[StreamRequest] = []
        self._obedient = obedient
        self._orders: OrdersStream | None = None
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def start(self) -> FakeAgent:
        """Register and begin to listen."""
        self.client.register(
            NodeStatus(name=self.node, cpu_millis=64_000, memory_bytes=64 << 30, runtimes={"docker": "24.0"})
        )
        self._orders = self.client.orders()
        self._thread.start()
        wait_until(lambda: self.heard, told="the first orders")
        return self

    def _follow(self) -> None:
        assert self._orders is not None
        for one in self._orders:
            if isinstance(one, StreamRequest):
                self.requests.append(one)
                continue
            self.heard.append((time.perf_counter(), one))
            if self._obedient and one.orders:
                self.report(*one.orders)

    def report(self, *orders: Order) -> None:
        """Tell that everything is as ordered."""
        states = {"running": InstanceState.RUNNING, "stopped": InstanceState.STOPPED}
        statuses = [
            InstanceStatus(name=one.name, uid=one.uid, node=self.node, state=states[one.wanted]) for one in orders
        ]
        self.client.report(Report(node=self.node, boot_id="b", sent_at=time.time(), statuses=tuple(statuses)))

    def stop(self) -> None:
        """Hang up."""
        if self._orders is not None:
            self._orders.close()
        self._thread.join(5.0)
        self.client.close()


def client_of(server: RunningServer) -> Client:
    """A client with the first admin token."""
    return Client(server.url, server.admin_token)


FAST = NodeSettings(heartbeat_s=0.3, lost_after_s=1.0)
WEB = {"kind": "Service", "name": "web", "image": "shop/web:1"}


def running_names(client: Client, service: str) -> list[str]:
    """The names of a service's running instances."""
    return [one["name"] for one in client.instances(service) if one["state"] == "running"]
