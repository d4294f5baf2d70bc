"""A control loop over a store in memory, for tests of the controllers."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import newbon_filter_resources
import newbon_score_spread

from newbon_core.controllers import ControlLoop, ControlSettings
from newbon_core.hooks.host import PluginHost
from newbon_core.model import (
    InstanceState,
    InstanceStatus,
    Service,
)
from newbon_core.model.wire import Report
from newbon_core.scheduler import Scheduler
from newbon_core.state.cache import WATCH_PREFIX, Cache
from newbon_core.state.changes import Changes, commit_units
from newbon_core.state.fleet import Fleet
from newbon_core.testing.builders import make_node_status, make_status
from newbon_core.testing.memory_store import MemoryStore
from newbon_core.testing.simulator_world import FaultyStore

HOST = PluginHost.of(filter_resources=newbon_filter_resources, score_spread=newbon_score_spread)


class Control:
    """A loop, its store and a clock. ``turn`` lets it see everything and step until it has nothing more to do."""

    def __init__(
        self,
        nodes: int = 3,
        store: FaultyStore | None = None,
        now: float = 0.0,
        held: Callable[[Service], str] = lambda service: "",
        **settings: float,
    ) -> None:
        self.now = now
        self.store = store or FaultyStore(MemoryStore())
        self.settings = ControlSettings(**settings)  # type: ignore[arg-type]
        self.cache = Cache()
        self.meanwhile: Callable[[], object] = lambda: None
        self.cache.subscribe(lambda changes, revision: self.meanwhile())
        self.cache.load(*self.store.list(WATCH_PREFIX))
        self.watch = self.store.watch(WATCH_PREFIX, self.cache.revision + 1)
        self.scheduler = Scheduler(HOST)
        self.fleet = Fleet(self.store, self.cache, self.settings)
        uids = itertools.count()
        life = self.store.list("/")[1]
        self.loop = ControlLoop(
            self.store,
            self.cache,
            self.scheduler,
            self.fleet,
            self.settings,
            lambda: f"u{life}.{next(uids)}",
            held=held,
        )
        self.names = [f"n{number}" for number in range(1, nodes + 1)]
        for name in self.names:
            self.fleet.register(make_node_status(name, labels={"zone": "a"}), self.now)
        self.turn()

    def see(self) -> None:
        while (batch := self.watch.poll(0)) is not None:
            self.cache.apply(batch)

    def turn(self) -> float | None:
        for _ in range(50):
            self.see()
            before = self.store.inner.list("/")[1]
            wake = self.loop.step(self.now)
            if self.store.inner.list("/")[1] == before:
                return wake
        raise AssertionError("the loop does not come to rest")

    def write(self, *services: Service) -> None:
        for service in services:
            changes = Changes()
            changes.put(service)
            commit_units(self.store.inner, [changes])

    def delete(self, name: str) -> None:
        changes = Changes()
        changes.delete(Service, name, None)
        commit_units(self.store.inner, [changes])

    def names_of(self, service: str = "web") -> list[str]:
        self.see()
        return [instance.name for instance in self.cache.instances_of(service)]

    def tell(self, name: str, state: InstanceState, **fields: object) -> None:
        self.see()
        instance = self.cache.instances[name].value
        assert instance.node is not None
        status: InstanceStatus = make_status(instance, state, **fields)
        self.fleet.report(Report(node=instance.node, boot_id="b", sent_at=self.now, statuses=(status,)), self.now)

    def heartbeat(self, *names: str) -> None:
        for name in names or self.names:
            self.fleet.report(Report(node=name, boot_id="b", sent_at=self.now), self.now)

    def all_run(self) -> None:
        for stored in list(self.cache.instances.values()):
            if stored.value.node is not None and self.cache.status_of(stored.value) is None:
                self.tell(stored.value.name, InstanceState.RUNNING, started_at=self.now)
        self.turn()

    def reasons(self) -> list[str]:
        self.see()
        batches = sorted(self.cache.event_batches.items())
        return [event.reason for _, stored in batches for event in stored.value.events]
