"""A client double with objects in memory, and builders of the API's objects."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from click.testing import CliRunner, Result

from newbon_core.cli.main import root
from newbon_core.cli.session import Session
from newbon_core.client import ApiProblem, WatchEvent

NOW = 1_700_000_000.0
MIB = 1024 * 1024


def service(name: str = "web", **fields: Any) -> dict[str, Any]:
    spec = {"kind": "Service", "name": name, "image": f"registry.example/{name}:1.4", "replicas": 3}
    return {
        "name": name, "labels": {"app": name}, "replicas": 3, "running": 3, "revision": 2,
        "image": f"registry.example/{name}:1.4", "created_at": NOW - 7500, "updated_at": NOW - 192,
        "updated_by": "admin", "spec": spec,
    } | fields  # fmt: skip


def instance(name: str = "web-1", **fields: Any) -> dict[str, Any]:
    usage = {"cpu_cores": 0.12, "memory_bytes": 40 * MIB, "receive_bytes_s": 2048.0, "transmit_bytes_s": 5e6,
             "pids": 4, "time": NOW}  # fmt: skip
    return {
        "name": name, "uid": f"uid-{name}", "service": name.rpartition("-")[0], "revision": 2, "state": "running",
        "wanted": "running", "node": "n1", "address": "172.17.0.2", "host_ports": {"http": 32768}, "message": "",
        "created_at": NOW - 192, "placed_at": NOW - 191, "started_at": NOW - 190, "finished_at": None,
        "exit_code": None, "oom_killed": False, "container_id": f"c-{name}", "image_id": "sha256:1",
        "placement": {"score": 0.93, "terms": {"score_spread": 0.83, "score_binpack": 0.1}, "nodes": 3,
                      "feasible": 2, "rejected": {"memory": 1}, "runner_up": "n2", "runner_up_score": 0.7},
        "waiting": None, "reason": "", "failures": 0, "usage": usage, "labels": {"app": "web"},
    } | fields  # fmt: skip


def node(name: str = "n1", **fields: Any) -> dict[str, Any]:
    usage = {"time": NOW, "cpu_cores": 1.5, "cpu_count": 8, "memory_used_bytes": 2048 * MIB,
             "memory_total_bytes": 16384 * MIB, "disk_used_bytes": 9000 * MIB, "disk_total_bytes": 90000 * MIB,
             "receive_bytes_s": 1.0, "transmit_bytes_s": 1.0, "load1": 0.7}  # fmt: skip
    return {
        "name": name, "state": "ready", "state_since": NOW - 9000, "state_reason": "", "cordoned": False,
        "labels": {"node": name, "zone": "a", "os": "linux"}, "own_labels": {"zone": "a"}, "taints": [],
        "cpu_millis": 8000, "cpu_free_millis": 6500, "memory_bytes": 16384 * MIB, "memory_free_bytes": 15000 * MIB,
        "countable": {"gpu": 2}, "instances": 3, "address": "10.0.0.1", "last_heard": NOW - 1.2,
        "runtimes": {"docker": "26.1.5"}, "agent_version": "0.1.0", "created_at": NOW - 9000, "usage": usage,
    } | fields  # fmt: skip


def event(**fields: Any) -> dict[str, Any]:
    return {
        "time": NOW - 60, "level": "info", "reason": "Placed", "kind": "Instance", "name": "web-1",
        "message": "placed on n1 with a score of 0.93", "node": "n1", "service": "web",
    } | fields  # fmt: skip


def explanation(**fields: Any) -> dict[str, Any]:
    scores = [
        {"plugin": "score_spread", "raw": 1.0, "normalised": 0.83, "weight": 1.0, "weighted": 0.83},
        {"plugin": "score_binpack", "raw": 0.2, "normalised": 0.2, "weight": 0.5, "weighted": 0.1},
    ]
    return {
        "service": "web",
        "nodes": [
            {"node": "n1", "passed": True, "reasons": [], "scores": scores, "total": 0.93},
            {"node": "n2", "passed": False, "reasons": ["memory: needs 512 MiB, 300 MiB free", "newbon: cordoned"],
             "scores": [], "total": None},
        ],
        "advice": ["free 212 MiB on n2, or uncordon it"],
    } | fields  # fmt: skip


class FakeWatch:
    """Yields what is fed; blocks until ``close`` as a real one does."""

    def __init__(self, events: Sequence[WatchEvent], ends: bool) -> None:
        self.queue: queue.Queue[WatchEvent | None] = queue.Queue()
        for each in events:
            self.queue.put(each)
        if ends:
            self.queue.put(None)

    def __iter__(self) -> Iterator[WatchEvent]:
        while (item := self.queue.get()) is not None:
            yield item

    def close(self) -> None:
        self.queue.put(None)


def put(item: Mapping[str, Any], revision: int | None = None) -> WatchEvent:
    return WatchEvent("put", dict(item), revision)


def deleted(name: str, revision: int = 10) -> WatchEvent:
    return WatchEvent("deleted", {"name": name}, revision)


SYNCED = WatchEvent("synced", {}, 10)
RESET = WatchEvent("reset", {}, 0)


class FakeExec:
    """A command whose output, sizes and end are given."""

    def __init__(self, output: Sequence[bytes] = (), code: int | None = 0, error: str | None = None) -> None:
        self.pieces = list(output)
        self.result_view = {"exit_code": code, "error": error, "state": "ended"}
        self.written: list[bytes] = []
        self.sizes: list[tuple[int, int]] = []
        self.closed = False

    def output(self) -> Iterator[bytes]:
        yield from self.pieces

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def resize(self, rows: int, columns: int) -> None:
        self.sizes.append((rows, columns))

    def result(self) -> dict[str, Any]:
        return self.result_view

    def close(self) -> None:
        self.closed = True


class FakeClient:
    """The part of ``newbon_core.client.Client`` that the command line uses."""

    def __init__(self) -> None:
        self.objects: dict[str, list[dict[str, Any]]] = {
            "services": [service()],
            "instances": [instance("web-1"), instance("web-2", node="n2"), instance("web-10", node="n3")],
            "nodes": [node("n1"), node("n2"), node("n3")],
            "events": [event()],
            "revisions": [],
            "tokens": [],
        }
        self.calls: list[tuple[Any, ...]] = []
        self.watches: dict[str, list[WatchEvent]] = {}
        self.watches_end = False
        self.log: dict[str, list[bytes]] = {}
        self.apply_answer: Any = {"results": [], "revision": 5, "dry_run": False}
        self.plan_answer: Any = {"results": [], "groups": [], "removals": []}
        self.problem: Exception | None = None
        self.explained: dict[str, Any] = explanation()
        self.exec_session = FakeExec()

    def _list(self, noun: str) -> list[dict[str, Any]]:
        if self.problem is not None:
            raise self.problem
        return list(self.objects[noun])

    def _one(self, noun: str, name: str) -> dict[str, Any]:
        for item in self._list(noun):
            if item["name"] == name:
                return item
        raise ApiProblem(404, "Not found", f"there is no {noun} {name}")

    def services(self, selector: str | None = None) -> list[dict[str, Any]]:
        self.calls.append(("services", selector))
        return self._list("services")

    def service(self, name: str) -> dict[str, Any]:
        return self._one("services", name)

    def instances(
        self, service: str | None = None, selector: str | None = None, node: str | None = None
    ) -> list[dict[str, Any]]:
        self.calls.append(("instances", service, selector, node))
        return [item for item in self._list("instances") if service in (None, item["service"])]

    def instance(self, name: str) -> dict[str, Any]:
        return self._one("instances", name)

    def nodes(self, selector: str | None = None) -> list[dict[str, Any]]:
        self.calls.append(("nodes", selector))
        return self._list("nodes")

    def node(self, name: str) -> dict[str, Any]:
        return self._one("nodes", name)

    def events(self, **wanted: Any) -> list[dict[str, Any]]:
        self.calls.append(("events", wanted))
        return self._list("events")

    def revisions(self, service: str | None = None) -> list[dict[str, Any]]:
        return [item for item in self._list("revisions") if service in (None, item["service"])]

    def tokens(self) -> list[dict[str, Any]]:
        return self._list("tokens")

    def create_token(self, role: str, **fields: Any) -> dict[str, Any]:
        self.calls.append(("create_token", role, fields))
        return {"name": "abc", "role": role, "token": "abc.secret", **fields}

    def delete_token(self, name: str) -> None:
        self.calls.append(("delete_token", name))

    def apply(self, documents: Any, *, dry_run: bool = False) -> Any:
        self.calls.append(("apply", documents, dry_run))
        if self.problem is not None:
            raise self.problem
        return self.apply_answer

    def plan(self, documents: Any) -> Any:
        self.calls.append(("plan", documents))
        if self.problem is not None:
            raise self.problem
        return self.plan_answer

    def scale(self, name: str, replicas: int) -> None:
        self.calls.append(("scale", name, replicas))

    def delete(self, kind: str, name: str) -> None:
        self.calls.append(("delete", kind, name))

    def cordon(self, name: str, cordoned: bool) -> None:
        self.calls.append(("cordon", name, cordoned))

    def node_patch(self, name: str, **fields: Any) -> dict[str, Any]:
        self.calls.append(("node_patch", name, fields))
        labels = {key: value for key, value in fields.get("labels", {}).items() if value is not None}
        return node(name, labels=labels, taints=fields.get("taints", []))

    def explain(self, kind: str, name: str) -> dict[str, Any]:
        self.calls.append(("explain", kind, name))
        return self.explained

    def logs(self, name: str, **wanted: Any) -> Iterator[bytes]:
        self.calls.append(("logs", name, wanted))
        yield from self.log.get(name, [])

    def exec(self, name: str, command: Sequence[str], **wanted: Any) -> FakeExec:
        self.calls.append(("exec", name, tuple(command), wanted))
        return self.exec_session

    def watch(self, path: str, revision: int | None = None, *, params: Mapping[str, str] | None = None) -> FakeWatch:
        self.calls.append(("watch", path, dict(params or {})))
        return FakeWatch(self.watches.get(path, []), self.watches_end)

    def ready(self) -> dict[str, Any]:
        return {"ready": True, "reasons": []}

    def called(self, name: str) -> list[tuple[Any, ...]]:
        """The calls of one method, without its name."""
        return [call[1:] for call in self.calls if call[0] == name]


def run_session(client: FakeClient) -> Session:
    """A session that speaks to a client double."""
    session = Session(token="t", server="http://newbon.example:7800", now=lambda: NOW)
    session.make_client = lambda *_: client
    return session


def run(client: FakeClient | None, *arguments: str, stdin: str | bytes | None = None, **settings: Any) -> Result:
    """Run a command against a client double."""
    session = Session(token="t", server="http://newbon.example:7800", now=lambda: NOW, **settings)
    if client is not None:
        session.make_client = lambda *_: client
    return CliRunner().invoke(root, list(arguments), obj=session, input=stdin)


def eventually(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    """Wait for a condition. Raises AssertionError when the time is over."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
