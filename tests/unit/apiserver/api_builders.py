"""The API over a store in memory, without threads: what is written is in the cache at once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from newbon_core.apiserver.app import create_app
from newbon_core.apiserver.auth import Authenticator
from newbon_core.apiserver.context import EXTENSION, Context, Limits
from newbon_core.apiserver.feed import ChangeFeed
from newbon_core.apiserver.metrics import Metrics
from newbon_core.apiserver.streams import Streams
from newbon_core.hooks.host import PluginHost
from newbon_core.hooks.providers import RuntimeType, ServiceField
from newbon_core.hooks.specs import hookimpl
from newbon_core.model import (
    ContainerSpec,
    Instance,
    InstanceState,
    InstanceStatus,
    Node,
    NodeStatus,
    Role,
    Service,
)
from newbon_core.scheduler.scheduler import Scheduler
from newbon_core.state import Cache, Changes, commit_atomic
from newbon_core.state.auth import new_token
from newbon_core.state.codec import ROOT, Object
from newbon_core.state.fleet import Fleet
from newbon_core.store.base import Compare, Put, StoreUnavailable, TxnResult
from newbon_core.testing.memory_store import MemoryStore


class LiveStore(MemoryStore):
    """Tells the cache of every write at once; ``broken`` makes it answer nothing."""

    def __init__(self, cache: Cache) -> None:
        super().__init__()
        self.broken = False
        self._cache = cache
        self._watch = self.watch(ROOT, 1)

    def txn(self, compares: Sequence[Compare], puts: Sequence[Put], deletes: Sequence[str] = ()) -> TxnResult:
        if self.broken:
            raise StoreUnavailable("the store is away")
        result = super().txn(compares, puts, deletes)
        while (batch := self._watch.poll(0)) is not None:
            self._cache.apply(batch)
        return result


@dataclass
class Settings:
    heartbeat_s: float = 2.0


@dataclass
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Engine:
    """A plugin with the runtime ``docker`` and word on every resource, of which nothing is ever used."""

    @hookimpl
    def newbon_runtimes(self) -> list[RuntimeType]:
        return [RuntimeType(name="docker", create=lambda options: None)]  # type: ignore[arg-type,return-value]  # never made

    @hookimpl
    def newbon_service_fields(self) -> list[ServiceField]:
        return [ServiceField(path="resources")]


@dataclass
class Api:
    """``api.get("/v1/services")`` speaks as admin; ``as_=`` names another role made by ``token``."""

    limits: Limits = field(default_factory=Limits)
    open_metrics: bool = False

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.cache = Cache()
        self.store = LiveStore(self.cache)
        self.host = shared_host()
        self.fleet = Fleet(self.store, self.cache, Settings())
        self.scheduler = Scheduler(self.host)
        self.feed = ChangeFeed(self.cache)
        self.reasons: list[str] = []
        self.context = Context(
            store=self.store,
            cache=self.cache,
            host=self.host,
            scheduler=self.scheduler,
            fleet=self.fleet,
            feed=self.feed,
            streams=Streams(self.feed.send, self.feed.connected),
            auth=Authenticator(self.cache, self.clock),
            metrics=Metrics(self.cache, self.host),
            now=self.clock,
            not_ready=lambda: self.reasons,
            open_metrics=self.open_metrics,
            limits=self.limits,
        )
        self.app = shared_app(self)
        self.client: FlaskClient = self.app.test_client()
        self.kept: list[Events] = []
        self.admin = self.token("admin")

    # --- what is there ---

    def put(self, *objects: Object) -> None:
        changes = Changes()
        for one in objects:
            changes.put(one)
        commit_atomic(self.store, changes)

    def token(self, role: Role, node: str | None = None, expires_at: float | None = None) -> str:
        made = new_token(role, self.clock(), node=node, expires_at=expires_at)
        self.put(made.token)
        return made.text

    def service(self, name: str = "web", **more: Any) -> Service:
        image = more.pop("image", "shop/web:1")
        made = Service(name=name, container=ContainerSpec(image=image), created_at=1.0, updated_at=1.0, **more)
        self.put(made)
        return made

    def node(self, name: str = "n1", **more: Any) -> Node:
        made = Node(name=name, **more)
        status = NodeStatus(name=name, cpu_millis=4000, memory_bytes=4 << 30, runtimes={"docker": "24.0"})
        self.put(made, status)
        self.scheduler.table.upsert_node(made, status)
        return made

    def instance(self, number: int = 1, service: str = "web", node: str | None = "n1", **more: Any) -> Instance:
        name = f"{service}-{number}"
        made = Instance(name=name, uid=f"uid-{name}", service=service, number=number, revision=1, node=node, **more)
        self.put(made)
        return made

    def status(self, instance: Instance, state: InstanceState = InstanceState.RUNNING, **more: Any) -> None:
        assert instance.node is not None
        self.put(InstanceStatus(name=instance.name, uid=instance.uid, node=instance.node, state=state, **more))

    # --- asking ---

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = None,
        data: bytes | None = None,
        content_type: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> TestResponse:
        self.app.extensions[EXTENSION] = self.context
        sent = {"Authorization": f"Bearer {token or self.admin}", **(headers or {})}
        if body is not None:
            data, content_type = json.dumps(body).encode(), "application/json"
        return self.client.open(path, method=method, headers=sent, data=data, content_type=content_type)

    def get(self, path: str, **more: Any) -> TestResponse:
        return self.ask("GET", path, **more)

    def watch(self, path: str, **more: Any) -> Events:
        response = self.ask("GET", path, **more)
        assert response.status_code == 200, response.get_data()
        assert response.mimetype == "text/event-stream"
        # What is not kept is closed by Python at once, as if the client had gone.
        self.kept.append(Events(response))
        return self.kept[-1]


@cache
def shared_host() -> PluginHost:
    """One host for all tests: nothing of it changes."""
    return PluginHost.of(engine=Engine())


_APPS: list[Flask] = []


def shared_app(api: Api) -> Flask:
    """One app for all tests, for making one takes longer than most of them; its context is that of who asks."""
    if not _APPS:
        _APPS.append(create_app(api.context))
    _APPS[0].extensions[EXTENSION] = api.context
    return _APPS[0]


class Events:
    """The events of a stream, read one by one: (event, data, id). Comments are left out."""

    def __init__(self, response: TestResponse) -> None:
        self._response = response
        # A piece may hold several events.
        self._events: Iterator[str] = (
            event
            for piece in response.response
            for event in piece.decode().split("\n\n")  # type: ignore[union-attr]  # always bytes here
        )

    def next(self) -> tuple[str, Any, str]:
        for event in self._events:
            fields = dict(line.split(": ", 1) for line in event.splitlines() if line.partition(":")[0] and ": " in line)
            if fields:
                return fields["event"], json.loads(fields["data"]), fields.get("id", "")
        raise StopIteration

    def names(self, count: int) -> list[tuple[str, str]]:
        """The next events with the names of their objects."""
        found = (self.next() for _ in range(count))
        return [(event, data.get("name", "")) for event, data, _ in found]

    def rest(self) -> list[str]:
        """All events until the stream ends."""
        found = []
        try:
            while True:
                found.append(self.next()[0])
        except StopIteration:
            return found

    def until_synced(self) -> tuple[list[Any], str]:
        """All objects before ``synced``, and its revision."""
        items = []
        while True:
            event, data, revision = self.next()
            if event == "synced":
                return items, revision
            items.append(data)

    def close(self) -> None:
        self._response.close()


def problem(response: TestResponse, status: int) -> dict[str, Any]:
    """The problem in a response, held against what every problem must be."""
    assert response.status_code == status, response.get_data()
    assert response.content_type == "application/problem+json"
    found: dict[str, Any] = json.loads(response.get_data())
    assert found["status"] == status
    assert found["title"]
    assert found["detail"]
    return found
