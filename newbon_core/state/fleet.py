"""Agents and what they tell: registration, heartbeats, statuses in; orders out.

A plain heartbeat writes nothing: when a node was heard last is known in memory only, so after a restart every node gets
its full time anew.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, cast

from newbon_core.model import (
    FINISHED,
    STATE_ORDER,
    ContainerSpec,
    Event,
    Instance,
    InstanceState,
    InstanceStatus,
    Node,
    NodeState,
    NodeStatus,
    revision_name,
)
from newbon_core.model.wire import Order, OrdersUpdate, Report, ReportReply, trouble_of
from newbon_core.state.cache import Cache, ObjectChange, Stored
from newbon_core.state.changes import Changes, commit_units
from newbon_core.state.codec import decode, key_of
from newbon_core.state.samples import Samples
from newbon_core.store.base import Store, StoreUnavailable

_ATTEMPTS = 5
GONE = "its container is gone: the host or its engine lost it"


class HeartbeatSettings(Protocol):
    """The part of the site's node settings that this room reads."""

    @property
    def heartbeat_s(self) -> float: ...


class Fleet:
    """See the module's docstring. Safe to use from many threads.

    ``wake`` is called (from whatever thread reports) when a report tells of something that the nodes controller has to
    look at; ``take_news`` gives the names of those nodes.
    """

    def __init__(self, store: Store, cache: Cache, settings: HeartbeatSettings) -> None:
        self._store = store
        self._cache = cache
        self._settings = settings
        self.last_heard: dict[str, float] = {}
        self.runtime_errors: dict[str, Mapping[str, str]] = {}
        self.samples = Samples()
        self.wake: Callable[[], None] = lambda: None
        self._news: dict[str, None] = {}
        self._registered: dict[str, int] = {}
        self._sent_at: dict[str, float] = {}
        self._troubles: dict[str, str] = {}
        self._lock = threading.Lock()
        cache.subscribe(self._forget_the_gone)

    # --- what agents tell ---

    def register(self, status: NodeStatus, now: float) -> None:
        """Take what an agent tells of its host; the node is created, with the status's taints, when it is new.

        Raises StoreUnavailable.
        """
        self.last_heard[status.name] = now
        unit = Changes()
        if status.name not in self._cache.nodes:
            unit.create(
                Node(name=status.name, taints=status.taints, created_at=now, state_since=now, state_reason="registered")
            )
        known = self._cache.node_statuses.get(status.name)
        if known is None or known.value != status:
            unit.put(status)
        if unit:
            result = commit_units(self._store, [unit])
            if not result.all:
                unit = Changes()
                unit.put(status)
                result = commit_units(self._store, [unit])
            self._registered[status.name] = result.revision
        self._tell(status.name)

    def report(self, report: Report, now: float) -> ReportReply:
        """Take a heartbeat and what is new since the last one.

        Raises StoreUnavailable: then nothing but the heartbeat counts, and the agent has to tell it again.
        """
        name = report.node
        self.last_heard[name] = now
        self._take_samples(report, now)
        self._take_errors(report)
        statuses = [*report.statuses, *self._vanished(report, now)]
        if statuses:
            self._write_statuses(name, statuses, now)
        return ReportReply(registered=self._is_registered(name), heartbeat_s=self._settings.heartbeat_s)

    def _is_registered(self, name: str) -> bool:
        if name in self._cache.nodes and name in self._cache.node_statuses:
            return True
        return self._registered.get(name, 0) > self._cache.revision

    def _take_samples(self, report: Report, now: float) -> None:
        with self._lock:
            if report.host is not None:
                self.samples.add_host(report.node, report.host)
            for sample in report.containers:
                stored = self._cache.instances.get(sample.instance)
                if stored is not None and stored.value.uid == sample.uid:
                    self.samples.add_container(sample, now)

    def _take_errors(self, report: Report) -> None:
        name = report.node
        before = self.runtime_errors.get(name)
        self.runtime_errors[name] = dict(report.runtime_errors)
        stored = self._cache.nodes.get(name)
        state = NodeState.UNREADY if report.runtime_errors else NodeState.READY
        if (before or {}) != report.runtime_errors or stored is None or stored.value.state != state:
            self._tell(name)

    def _tell(self, name: str) -> None:
        with self._lock:
            self._news[name] = None
        self.wake()

    def take_news(self) -> list[str]:
        """Nodes that were heard with something new since the last call."""
        with self._lock:
            names = list(self._news)
            self._news.clear()
        return names

    # --- statuses ---

    def _vanished(self, report: Report, now: float) -> list[InstanceStatus]:
        """Instances whose container was there and is not in a full report: they have failed.

        Only a full report sent after every other that was seen proves that; one that was late proves nothing. Of what
        only was ``starting`` it proves nothing either: a start that an agent had asked for outlives it, and may come
        yet.
        """
        with self._lock:
            newest = report.sent_at > self._sent_at.get(report.node, 0.0)
            if newest:
                self._sent_at[report.node] = report.sent_at
        if not report.full or not newest or report.runtime_errors:
            return []
        told = {status.uid for status in report.statuses}
        found = []
        for instance in self._cache.instances_on(report.node):
            status = self._cache.status_of(instance)
            if status is not None and status.state is InstanceState.RUNNING and instance.uid not in told:
                stopped = instance.wanted != "running"
                found.append(
                    replace(
                        status,
                        state=InstanceState.STOPPED if stopped else InstanceState.FAILED,
                        message=GONE,
                        finished_at=now,
                    )
                )
        return found

    def _write_statuses(self, node: str, statuses: Iterable[InstanceStatus], now: float) -> None:
        """Write what is newer than what is stored, while the instance is still that of the cache; tell new troubles.

        Where the cache was behind the store, the store itself is asked: what is acknowledged is never told again.
        """
        pending = {one.name: one for one in sorted(statuses, key=lambda one: one.name) if one.node == node}
        seen = {name: (self._cache.instances.get(name), self._cache.statuses.get(name)) for name in pending}
        for name, (instance, _) in list(seen.items()):
            if instance is None or not _is_of(pending[name], instance.value):
                seen[name] = self._read(name)
        for _ in range(_ATTEMPTS):
            units: list[Changes] = []
            names: list[str] = []
            for name, status in pending.items():
                instance, before = seen[name]
                if instance is None or not _is_of(status, instance.value):
                    continue
                if not supersedes(status, before.value if before is not None else None):
                    continue
                unit = Changes()
                unit.require(Instance, name, instance)
                unit.require(InstanceStatus, name, before)
                unit.put(status)
                unit.events += self._new_trouble(status, instance.value.service, now)
                units.append(unit)
                names.append(name)
            committed = commit_units(self._store, units).committed
            for name, done in zip(names, committed, strict=True):
                if done and (trouble := trouble_of(pending[name].message)) is not None:
                    self._troubles[pending[name].uid] = trouble
            pending = {name: pending[name] for name, done in zip(names, committed, strict=True) if not done}
            if not pending:
                return
            seen = {name: self._read(name) for name in pending}
        raise StoreUnavailable(f"statuses of {', '.join(sorted(pending))} were changed again and again by others")

    def _new_trouble(self, status: InstanceStatus, service: str, now: float) -> list[Event]:
        """What failed and is tried again, unless it is what was told of this instance last."""
        trouble = trouble_of(status.message)
        if trouble is None or trouble == self._troubles.get(status.uid):
            return []
        return [
            Event(
                time=now, level="warning", reason="InstanceTrouble", kind="Instance", name=status.name,
                message=status.message, node=status.node, service=service,
            )
        ]  # fmt: skip

    def _read(self, name: str) -> tuple[Stored[Instance] | None, Stored[InstanceStatus] | None]:
        instance = self._store.get(key_of(Instance, name))
        status = self._store.get(key_of(InstanceStatus, name))
        return (
            Stored(cast(Instance, decode(Instance, instance.key, instance.value)), instance.mod_revision)
            if instance is not None
            else None,
            Stored(cast(InstanceStatus, decode(InstanceStatus, status.key, status.value)), status.mod_revision)
            if status is not None
            else None,
        )

    def _forget_the_gone(self, changes: Sequence[ObjectChange], revision: int) -> None:
        for change in changes:
            if change.new is None and change.kind is Node:
                for table in (self.last_heard, self.runtime_errors, self._sent_at):
                    table.pop(change.name, None)
                if self._registered.get(change.name, 0) <= revision:
                    self._registered.pop(change.name, None)
                with self._lock:
                    self.samples.forget_host(change.name)
            elif change.kind is Instance and isinstance(change.old, Instance):
                new = change.new
                if not isinstance(new, Instance) or new.uid != change.old.uid:
                    self._troubles.pop(change.old.uid, None)
                    with self._lock:
                        self.samples.forget_container(change.old.uid)

    # --- what agents are told ---

    def orders(self, node: str) -> OrdersUpdate:
        """All orders of a node at the cache's revision."""
        revision = self._cache.revision
        orders = tuple(self._order(instance) for instance in self._cache.instances_on(node))
        return OrdersUpdate(revision=revision, full=True, orders=orders)

    def orders_since(self, node: str, changes: Iterable[ObjectChange], revision: int) -> OrdersUpdate | None:
        """What a batch of changes means for a node; None when it means nothing.

        ``changes`` may be all of a batch or only those of this node (see ``changes_by_node``).
        """
        orders: dict[str, Order] = {}
        withdrawn: dict[str, None] = {}
        for change in changes:
            if change.kind is not Instance:
                continue
            old, new = cast(Instance | None, change.old), cast(Instance | None, change.new)
            if old is not None and old.node == node and (new is None or new.uid != old.uid):
                orders.pop(old.uid, None)
                withdrawn[old.uid] = None
            if new is not None and new.node == node:
                orders[new.uid] = self._order(new)
        if not orders and not withdrawn:
            return None
        return OrdersUpdate(revision=revision, full=False, orders=tuple(orders.values()), withdrawn=tuple(withdrawn))

    def _order(self, instance: Instance) -> Order:
        status = self._cache.status_of(instance)
        runs = instance.wanted == "running" and not (status is not None and status.state in FINISHED)
        return Order(
            name=instance.name,
            uid=instance.uid,
            service=instance.service,
            revision=instance.revision,
            wanted="running" if runs else "stopped",
            container=self._container_of(instance),
            begun=status is not None and status.state is InstanceState.RUNNING,
        )

    def _container_of(self, instance: Instance) -> ContainerSpec:
        service = self._cache.services.get(instance.service)
        if service is not None and service.value.revision == instance.revision:
            return service.value.container
        past = self._cache.revisions.get(revision_name(instance.service, instance.revision))
        # Without either the service was deleted: all that is left to do is to stop, which needs no more than a uid.
        return past.value.container if past is not None else ContainerSpec(image="")


def _is_of(status: InstanceStatus, instance: Instance) -> bool:
    return instance.uid == status.uid and instance.node == status.node


def supersedes(new: InstanceStatus, stored: InstanceStatus | None) -> bool:
    """True where ``new`` tells more than what is stored: another instance, a later state, or more about the same state.

    A finished status is final, and states only go forward, so a report that was late changes nothing.
    """
    if stored is None or stored.uid != new.uid:
        return True
    if stored.state in FINISHED or stored == new:
        return False
    return STATE_ORDER[new.state] >= STATE_ORDER[stored.state]


def changes_by_node(changes: Iterable[ObjectChange]) -> dict[str, list[ObjectChange]]:
    """A batch's changes of instances by the node they concern, so that only those nodes are told."""
    found: dict[str, list[ObjectChange]] = {}
    for change in changes:
        if change.kind is Instance:
            for node in {cast(Instance, side).node for side in (change.old, change.new) if side is not None}:
                if node is not None:
                    found.setdefault(node, []).append(change)
    return found
