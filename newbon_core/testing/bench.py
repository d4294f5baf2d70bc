"""A bench for plugins: a fleet in few words, a strict host, and requests, with the real scheduler behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from newbon_core.hooks.executor import FilterAnswer, ScoreAnswer
from newbon_core.hooks.host import PluginHost
from newbon_core.hooks.settings import PluginSettings
from newbon_core.hooks.types import NodeTable, PlacementRequest
from newbon_core.model import (
    Affinity,
    ContainerSpec,
    Instance,
    Node,
    NodeStatus,
    Port,
    Resources,
    RevisionSpec,
    Schedule,
    Taint,
)
from newbon_core.scheduler.claims import claim_of
from newbon_core.scheduler.explain import Explanation
from newbon_core.scheduler.group import GroupPlacement
from newbon_core.scheduler.scheduler import Scheduler
from newbon_core.scheduler.table import Table
from newbon_core.scheduler.view import TableView

GIB = 2**30
MIB = 2**20


class StrictHost(PluginHost):
    """A host whose plugins must not fail: a call that does raises AssertionError with the plugin's error."""

    def filter_nodes(self, request: PlacementRequest, nodes: NodeTable) -> list[FilterAnswer]:
        """As of the real host, but nothing is contained."""
        answers = super().filter_nodes(request, nodes)
        self.assert_sound()
        return answers

    def score_nodes(self, request: PlacementRequest, nodes: NodeTable) -> list[ScoreAnswer]:
        """As of the real host, but nothing is left out."""
        answers = super().score_nodes(request, nodes)
        self.assert_sound()
        return answers

    def assert_sound(self) -> None:
        """Raises AssertionError when a plugin has failed since the host was made."""
        wrong = [
            f"the plugin {account.plugin} failed: {account.last_error}" for account in self.accounts if account.errors
        ]
        assert not wrong, "; ".join(wrong)


def host_of(
    settings: PluginSettings | None = None,
    *,
    options: Mapping[str, Mapping[str, object]] | None = None,
    strict: bool = True,
    **plugins: object,
) -> PluginHost:
    """``PluginHost.of`` that raises AssertionError, with the reason, when a plugin did not become active.

    ``options`` are those of the site's file by plugin, ``weight`` included, instead of whole ``settings``. The host is
    a StrictHost unless ``strict`` is False, for a test of what happens when a plugin fails.
    """
    if options is not None:
        settings = replace(settings or PluginSettings(enabled=tuple(plugins)), tables=options)
    host = (StrictHost if strict else PluginHost).of_objects(plugins, settings)
    wrong = [f"{info.name} is {info.status}: {info.reason}" for info in host.plugins if info.status == "failed"]
    assert not wrong, "; ".join(wrong)
    return host


def make_request(
    service: str = "web",
    *,
    count: int = 1,
    now: float = 1_000.0,
    resources: Resources | None = None,
    ports: Sequence[Port] = (),
    env: Mapping[str, str] | None = None,
    schedule: Schedule | None = None,
) -> PlacementRequest:
    """A request for replicas of a service that has nothing but what is named here."""
    container = ContainerSpec(
        image="example/web:1", env=env or {}, resources=resources or Resources(), ports=tuple(ports)
    )
    return PlacementRequest(
        service=service, revision=1, container=container, schedule=schedule or Schedule(), count=count, now=now
    )


class Bench:
    """A fleet described in few words; every method that adds returns the bench."""

    def __init__(self) -> None:
        self._nodes: list[tuple[Node, NodeStatus]] = []
        self._instances: list[tuple[Instance, RevisionSpec]] = []
        self._failures: list[tuple[str, str, float]] = []

    def node(
        self,
        name: str,
        *,
        cpu_millis: int = 4000,
        memory_bytes: int = 8 * GIB,
        labels: Mapping[str, str] | None = None,
        taints: Sequence[Taint] = (),
        countable: Mapping[str, int] | None = None,
        runtimes: Mapping[str, str] | None = None,
    ) -> Bench:
        """A ready node."""
        status = NodeStatus(
            name=name,
            cpu_millis=cpu_millis,
            memory_bytes=memory_bytes,
            countable=countable or {},
            runtimes={"docker": "27.0"} if runtimes is None else runtimes,
        )
        self._nodes.append((Node(name=name, labels=labels or {}, taints=tuple(taints)), status))
        return self

    def instances(self, service: str, node: str, count: int = 1, container: ContainerSpec | None = None) -> Bench:
        """So many running instances of a service on a node."""
        spec = RevisionSpec(service, 1, container or ContainerSpec(image="example/web:1"), Schedule())
        for _ in range(count):
            number = len(self._instances)
            name = f"{service}-{number}"
            instance = Instance(name=name, uid=f"uid-{name}", service=service, number=number, revision=1, node=node)
            self._instances.append((instance, spec))
        return self

    def failures(self, service: str, node: str, count: int = 1, at: float = 1_000.0) -> Bench:
        """So many recent failures of a service on a node."""
        # The table takes a failure that it is told of twice for one, so each has a time of its own.
        self._failures += [(service, node, at - index / 1000) for index in range(count)]
        return self

    def reversed(self) -> Bench:
        """The same fleet whose nodes came in the opposite order."""
        other = Bench()
        other._nodes = self._nodes[::-1]
        other._instances, other._failures = self._instances, self._failures
        return other

    def nodes(self, request: PlacementRequest, added: int = 0) -> NodeTable:
        """The table that hooks are given, with ``added`` replicas of the request assumed on every node."""
        return TableView(self._fill(Table()), request, claim_of(request.container), added)

    def place(self, host: PluginHost, request: PlacementRequest) -> GroupPlacement:
        """What the real scheduler decides with these plugins; the bench itself is not changed."""
        placed = self._scheduler(host).place(request)
        _assert_sound(host)
        return placed

    def explain(self, host: PluginHost, request: PlacementRequest) -> Explanation:
        """Why: node by node, every filter and every score."""
        explanation = self._scheduler(host).explain(request)
        _assert_sound(host)
        return explanation

    def _scheduler(self, host: PluginHost) -> Scheduler:
        scheduler = Scheduler(host)
        self._fill(scheduler.table)
        return scheduler

    def _fill(self, table: Table) -> Table:
        for node, status in self._nodes:
            table.upsert_node(node, status)
        for instance, spec in self._instances:
            table.upsert_instance(instance, spec)
        for service, node_name, at in self._failures:
            table.record_failure(service, node_name, at)
        return table


def _assert_sound(host: PluginHost) -> None:
    """Reasons and summaries are asked after the answers were given."""
    if isinstance(host, StrictHost):
        host.assert_sound()


def mixed_bench() -> Bench:
    """Eight different nodes in two zones with some instances: what the conformance classes try plugins on."""
    bench = Bench()
    for index in range(8):
        labels = {"zone": f"z{index % 2}", "rack": f"r{index % 4}"} if index else {}
        bench.node(
            f"n{index}",
            cpu_millis=1000 * (1 + index % 4),
            memory_bytes=GIB * (1 + index % 3),
            labels=labels | ({"disk": "ssd"} if index % 3 == 0 else {}),
            taints=[Taint(key="dedicated", value="db")] if index == 5 else [],
            countable={"gpu": 2} if index == 6 else {},
        )
    using = ContainerSpec(
        image="example/db:1",
        resources=Resources(cpu_millis=500, memory_bytes=512 * MIB),
        ports=(Port(name="http", port=80, host_port=8080),),
    )
    bench.instances("db", "n1", 1, using).instances("db", "n2", 1, using)
    return bench.instances("web", "n3", 2).instances("web", "n4").failures("web", "n7", 3)


def mixed_requests() -> list[PlacementRequest]:
    """Requests that touch every field which the core leaves to plugins, save constraints (a plugin's own grammar)."""
    return [
        make_request(),
        make_request("db", count=3, resources=Resources(cpu_millis=1500, memory_bytes=GIB)),
        make_request(resources=Resources(countable={"gpu": 1})),
        make_request(ports=[Port(name="http", port=80, host_port=8080)]),
        make_request(count=4, schedule=Schedule(spread=("zone", "rack", "node"))),
        make_request(schedule=Schedule(affinity=(Affinity(service="db", topology="zone", anti=True),))),
        make_request(schedule=Schedule(affinity=(Affinity(service="db"),), max_per_node=1)),
    ]
