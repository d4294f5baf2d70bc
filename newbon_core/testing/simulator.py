"""A deterministic cluster: the real controllers, scheduler, fleet, cache and agents' executors under a virtual clock.

One seed is one exact run. Typical use, also by plugin authors::

    cluster = Simulation(seed=1, nodes=3)
    cluster.apply(Service(name="web", container=ContainerSpec(image="app"), replicas=3))
    cluster.run_until(lambda: cluster.running("web") == 3, within_s=30)

Invariants (``simulator_oracle``) are checked after every step; a broken one raises SimulationFailed, which tells the
seed and what happened last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from newbon_core.agent.plan import ExecutorSettings
from newbon_core.controllers import ControlSettings
from newbon_core.hooks.host import PluginHost
from newbon_core.model import (
    Instance,
    InstanceState,
    InstanceStatus,
    Node,
    NodeStatus,
    Service,
)
from newbon_core.state.apply import revision_of
from newbon_core.state.cache import Cache
from newbon_core.state.changes import Changes
from newbon_core.store.base import Compare, Put, TxnResult
from newbon_core.testing.memory_store import MemoryStore
from newbon_core.testing.simulator_node import RUNTIME, SimNode
from newbon_core.testing.simulator_oracle import InvariantBroken, Oracle
from newbon_core.testing.simulator_server import ServerDown, SimServer
from newbon_core.testing.simulator_world import EPOCH, FaultyStore, Network, World

GIB = 2**30
_SPINS = 5_000
SETTINGS = ControlSettings(heartbeat_s=20.0, lost_after_s=90.0, events_sweep_s=600.0)
EXECUTOR = ExecutorSettings(relist_s=600.0, engine_retry_s=5.0)


class SimulationFailed(AssertionError):
    """An invariant was broken, or what had to come did not. The text has the seed and the last events."""


def default_plugins() -> PluginHost:
    """A host of the plugins that are installed, as a server finds them."""
    return PluginHost.discover()


def make_node_statuses(count: int, cpu_millis: int = 4000, memory_bytes: int = 8 * GIB) -> list[NodeStatus]:
    """Alike nodes ``n1``, ``n2``, … over three zones, every other one with ``disk: ssd``."""
    return [
        NodeStatus(
            name=f"n{number}",
            cpu_millis=cpu_millis,
            memory_bytes=memory_bytes,
            labels={"zone": f"z{number % 3}", "disk": "ssd" if number % 2 else "hdd"},
            runtimes={RUNTIME: "sim"},
            address=f"10.0.0.{number % 250}",
            boot_id="sim",
        )
        for number in range(1, count + 1)
    ]


class Simulation:
    """See the module. ``nodes`` is how many, or their statuses. ``plugins``: default those that are installed."""

    def __init__(
        self,
        seed: int = 0,
        nodes: int | Sequence[NodeStatus] = 3,
        plugins: PluginHost | None = None,
        settings: ControlSettings = SETTINGS,
        executor: ExecutorSettings = EXECUTOR,
    ) -> None:
        self.seed = seed
        self.settings = settings
        self.world = World(seed)
        self.network = Network(self.world)
        self.store = FaultyStore(MemoryStore(clock=lambda: self.world.now))
        self.oracle = Oracle()
        self.server = SimServer(self.world, self.store, plugins or default_plugins(), settings)
        self._spin = (self.world.now, 0)
        self.attempts: dict[str, list[Service | None]] = {}
        self.replay = f"newbon-sim --seeds 1 --seed {seed}"
        statuses = make_node_statuses(nodes) if isinstance(nodes, int) else nodes
        self.nodes = {status.name: self._node(status, executor) for status in statuses}
        self.store.seen = self._wrote
        self.store.trapped = lambda kind: self.world.tell(f"store: {kind} the write")
        self.server.reported = self.oracle.check_report
        self.server.start()
        for node in self.nodes.values():
            node.start_agent()

    def _node(self, status: NodeStatus, executor: ExecutorSettings) -> SimNode:
        node = SimNode(
            self.world, self.network, self.server, status, heartbeat_s=self.settings.heartbeat_s, executor=executor
        )
        node.touched = self._saw_engine
        return node

    def _wrote(
        self, compares: Sequence[Compare], puts: Sequence[Put], deletes: Sequence[str], result: TxnResult
    ) -> None:
        life = self.server.life
        del compares
        self.oracle.wrote(puts, deletes, result, life.cache if life is not None else None)
        self.server.written()

    def _saw_engine(self, node: SimNode) -> None:
        live = {container.uid: container.instance for container in node.live()}
        agent = node.agent
        self.oracle.saw_engine(node.name, live, agent.orders_revision if agent is not None else -1)

    # --- time ---

    @property
    def now_s(self) -> float:
        """Virtual seconds since the simulation began."""
        return self.world.now - EPOCH

    def run_for(self, seconds: float) -> None:
        """Let so much virtual time pass."""
        end = self.world.now + seconds
        while (at := self.world.next_at()) is not None and at <= end:
            self._step()
        self.world.now = end

    def run_until(self, condition: Callable[[], bool], within_s: float) -> float:
        """Let time pass until it holds; returns how much did. Raises SimulationFailed where it takes longer."""
        start = self.world.now
        while not condition():
            at = self.world.next_at()
            if at is None or at > start + within_s:
                raise self.failed(f"what was waited for did not come within {within_s:g} s")
            self._step()
        return self.world.now - start

    def _step(self) -> None:
        if self.world.now >= self._spin[0] + 1.0:
            self._spin = (self.world.now, self.world.steps)
        elif self.world.steps > self._spin[1] + _SPINS:
            raise self.failed(f"more than {_SPINS} steps within a second: something spins")
        try:
            self.world.step()
            self.oracle.check_acknowledged(self.attempts)
        except InvariantBroken as broken:
            raise self.failed(str(broken)) from broken

    def failed(self, why: str) -> SimulationFailed:
        """The failure with all that helps to understand it."""
        lines = "\n".join(self.world.log)
        return SimulationFailed(
            f"{why}\n  at {self.now_s:.3f} s, step {self.world.steps}, seed {self.seed}\n"
            f"  replay: {self.replay}\n  last events:\n{lines}"
        )

    # --- users ---

    def apply(self, service: Service) -> None:
        """Apply a service as the API does: a changed container or schedule makes a new revision. Raises ServerDown."""

        def plan(cache: Cache) -> tuple[Changes, Service | None]:
            changes = Changes()
            stored = cache.services.get(service.name)
            now = self.world.now
            if stored is None:
                new = replace(service, revision=1, created_at=now, updated_at=now)
                changes.create(new)
                return changes, new
            old = stored.value
            new = replace(service, revision=old.revision, created_at=old.created_at, updated_at=now)
            if (new.container, new.schedule) != (old.container, old.schedule):
                new = replace(new, revision=old.revision + 1)
                changes.put(revision_of(old))
            changes.update(new, stored)
            return changes, new

        self._commit(service.name, plan)

    def scale(self, name: str, replicas: int) -> None:
        """Change a service's replicas. Raises ServerDown, KeyError where there is no such service."""

        def plan(cache: Cache) -> tuple[Changes, Service | None]:
            stored = cache.services[name]
            changes = Changes()
            new = replace(stored.value, replicas=replicas, updated_at=self.world.now)
            changes.update(new, stored)
            return changes, new

        self._commit(name, plan)

    def delete(self, name: str) -> None:
        """Delete a service; its last version stays as a revision until its instances are gone. As ``scale``."""

        def plan(cache: Cache) -> tuple[Changes, Service | None]:
            stored = cache.services[name]
            changes = Changes()
            changes.delete(Service, name, stored)
            changes.put(revision_of(stored.value))
            return changes, None

        self._commit(name, plan)

    def _commit(self, name: str, plan: Callable[[Cache], tuple[Changes, Service | None]]) -> None:
        wanted: list[Service | None] = []

        def planned(cache: Cache) -> Changes:
            changes, new = plan(cache)
            wanted.append(new)
            self.attempts.setdefault(name, []).append(new)
            return changes

        result = self.server.commit(planned)
        if not result.succeeded:
            self.attempts[name].pop()
            raise ServerDown("409: changed by another meanwhile")
        self.attempts.pop(name, None)
        self.oracle.acknowledge(name, result.revision, wanted[-1])

    def cordon(self, node: str, cordoned: bool = True) -> None:
        """Keep new instances off a node, or no longer. Raises ServerDown, KeyError."""

        def plan(cache: Cache) -> Changes:
            stored = cache.nodes[node]
            changes = Changes()
            changes.update(replace(stored.value, cordoned=cordoned), stored)
            return changes

        self.server.commit(plan)

    # --- looking ---

    def service(self, name: str) -> Service | None:
        """A service as it is in the store."""
        held = self.oracle.services.get(name)
        return held[0] if held is not None else None

    def instances(self, service: str) -> list[tuple[Instance, InstanceStatus | None]]:
        """A service's instances in the store, each with its status, in order of their numbers."""
        found = [held[0] for held in self.oracle.instances.values() if held[0].service == service]
        found.sort(key=lambda instance: instance.number)
        statuses = self.oracle.statuses
        return [
            (one, statuses[one.name][0] if one.name in statuses and statuses[one.name][0].uid == one.uid else None)
            for one in found
        ]

    def node(self, name: str) -> Node | None:
        """A node as it is in the store."""
        held = self.oracle.nodes.get(name)
        return held[0] if held is not None else None

    def running(self, service: str) -> int:
        """Wanted instances of the service's present revision that report to run, and whose containers really do."""
        present = self.service(service)
        if present is None:
            return 0
        return sum(
            one.wanted == "running"
            and one.revision == present.revision
            and status is not None
            and status.state is InstanceState.RUNNING
            and one.uid in self.oracle.live.get(status.node, {})
            for one, status in self.instances(service)
        )

    def done(self, service: str) -> int:
        """Instances that finished by themselves and keep filling their place (restart policies never, on-failure)."""
        present = self.service(service)
        if present is None or present.restart.policy == "always":
            return 0
        return sum(
            one.wanted == "running"
            and one.revision == present.revision
            and status is not None
            and status.state in (InstanceState.STOPPED, InstanceState.FAILED)
            for one, status in self.instances(service)
        )

    def settled(self) -> bool:
        """True when every service has exactly its replicas, and nothing else runs anywhere."""
        wanted: dict[str, int] = {name: held[0].replicas for name, held in self.oracle.services.items()}
        live = [name.rpartition("-")[0] for running in self.oracle.live.values() for name in running.values()]
        if any(name not in wanted for name in live):
            return False
        return all(
            self.running(name) == live.count(name) and self.running(name) + self.done(name) == replicas
            for name, replicas in wanted.items()
        )
