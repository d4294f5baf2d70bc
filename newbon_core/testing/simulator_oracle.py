"""What must never happen, checked by an independent book-keeper after every step of a simulation.

It sees every transaction as it is written and every engine as it really is. It shares no code with what it judges but
the model and the codec.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import cast

from newbon_core.model import (
    ContainerSpec,
    Instance,
    InstanceState,
    InstanceStatus,
    Node,
    NodeState,
    NodeStatus,
    Revision,
    Schedule,
    Service,
)
from newbon_core.state.cache import Cache
from newbon_core.state.codec import Object, decode, parse_key
from newbon_core.store.base import Put, TxnResult

_FORWARD = {state: position for position, state in enumerate(InstanceState)}
_ENDED = (InstanceState.STOPPED, InstanceState.FAILED, InstanceState.LOST)


class InvariantBroken(AssertionError):
    """Something happened that must never happen; the text says what."""


def require(holds: bool, what: str) -> None:
    """Raise InvariantBroken unless it holds."""
    if not holds:
        raise InvariantBroken(what)


@dataclass(frozen=True, slots=True)
class Amounts:
    """What instances take and nodes have: cpu in thousandths of a core, memory in bytes."""

    cpu: int = 0
    memory: int = 0

    def plus(self, other: Amounts, sign: int = 1) -> Amounts:
        """The sum (or, with sign -1, the difference)."""
        return Amounts(self.cpu + sign * other.cpu, self.memory + sign * other.memory)

    def fits(self, room: Amounts) -> bool:
        """True where it is not more than ``room``."""
        return self.cpu <= room.cpu and self.memory <= room.memory


@dataclass(slots=True)
class Oracle:
    """All of it is public to be looked at; only the simulation writes. Pairs are a value and its revision."""

    services: dict[str, tuple[Service, int]] = field(default_factory=dict)
    instances: dict[str, tuple[Instance, int]] = field(default_factory=dict)
    statuses: dict[str, tuple[InstanceStatus, int]] = field(default_factory=dict)
    of_service: dict[str, dict[str, None]] = field(default_factory=dict)
    nodes: dict[str, tuple[Node, int]] = field(default_factory=dict)
    rooms: dict[str, Amounts] = field(default_factory=dict)
    runtimes: dict[str, frozenset[str]] = field(default_factory=dict)
    labels: dict[str, dict[str, str]] = field(default_factory=dict)
    specs: dict[tuple[str, int], list[tuple[float, ContainerSpec, Schedule]]] = field(default_factory=dict)
    used: dict[str, Amounts] = field(default_factory=dict)
    uids: dict[str, str] = field(default_factory=dict)
    given_up: dict[str, None] = field(default_factory=dict)
    acknowledged: dict[str, tuple[int, Service | None]] = field(default_factory=dict)
    services_changed: dict[str, None] = field(default_factory=dict)
    live: dict[str, dict[str, str]] = field(default_factory=dict)
    ever_live: dict[str, str] = field(default_factory=dict)
    checks: int = 0

    # --- transactions ---

    def wrote(
        self,
        puts: Sequence[Put],
        deletes: Sequence[str],
        result: TxnResult,
        view: Cache | None,
    ) -> None:
        """A transaction was written."""
        for key in deletes:
            where = parse_key(key)
            if where is not None:
                self._deleted(where.kind, where.name)
        decoded: list[Object] = []
        for put in puts:
            where = parse_key(put.key)
            if where is not None:
                decoded.append(decode(where.kind, put.key, put.value))
        for value in sorted(decoded, key=lambda one: not isinstance(one, Service | Revision)):
            self._put(value, result.revision, view)

    def _put(self, value: Object, revision: int, view: Cache | None) -> None:
        self.checks += 1
        if isinstance(value, Service):
            self.services[value.name] = (value, revision)
            self.services_changed[value.name] = None
            lives = self.specs.setdefault((value.name, value.revision), [])
            if not lives or lives[-1][0] != value.created_at:
                lives.append((value.created_at, value.container, value.schedule))
        elif isinstance(value, Instance):
            self._instance(value, revision, view)
        elif isinstance(value, InstanceStatus):
            self._status(value, revision)
        elif isinstance(value, Node):
            self.nodes[value.name] = (value, revision)
            self.labels[value.name] = {**self.labels.get(value.name, {}), **value.labels}
        elif isinstance(value, NodeStatus):
            self.rooms[value.name] = Amounts(value.cpu_millis, value.memory_bytes)
            self.runtimes[value.name] = frozenset(value.runtimes)
            self.labels[value.name] = {**value.labels, **self.labels.get(value.name, {})}

    def _deleted(self, kind: type, name: str) -> None:
        if kind is Service:
            self.services.pop(name, None)
            self.services_changed[name] = None
        elif kind is Instance:
            gone = self.instances.pop(name, None)
            if gone is not None:
                self.of_service[gone[0].service].pop(name)
                self._count(gone[0], self._status_of(gone[0]), -1)
                self._check_deletion(gone[0])
        elif kind is InstanceStatus:
            before = self.statuses.pop(name, None)
            held = self.instances.get(name)
            if before is not None and held is not None and before[0].uid == held[0].uid:
                self._count(held[0], before[0], -1)
                self._count(held[0], None, 1)
        elif kind is Node:
            self.nodes.pop(name, None)

    def _instance(self, new: Instance, revision: int, view: Cache | None) -> None:
        before = self.instances.get(new.name)
        old = before[0] if before is not None else None
        if old is None:
            require(
                new.uid not in self.uids, f"uid {new.uid} of {new.name} was given to {self.uids.get(new.uid)} before"
            )
            self.uids[new.uid] = new.name
        else:
            require(old.uid == new.uid, f"{new.name} got uid {new.uid} while {old.uid} was not deleted")
            require(old.node in (None, new.node), f"{new.name} was moved from {old.node} to {new.node}")
            require(
                old.wanted == "running" or new.wanted != "running",
                f"{new.name} was wanted {old.wanted}, and now {new.wanted} again",
            )
            self._count(old, self._status_of(old), -1)
        self.instances[new.name] = (new, revision)
        self.of_service.setdefault(new.service, {})[new.name] = None
        if old is None:
            self._created(new)
        status = self._status_of(new)
        self._count(new, status, 1)
        if new.wanted == "lost":
            self.given_up[new.uid] = None
        if new.node is not None and (old is None or old.node is None):
            self._placed(new, view)

    def _placed(self, new: Instance, view: Cache | None) -> None:
        """Something got a node: would an honest reader of the server's own knowledge have allowed it?"""
        self._present_service(new, "placed")
        require(view is not None, f"{new.name} was placed while no server runs")
        stored = cast(Cache, view).nodes.get(new.node or "")
        require(stored is not None, f"{new.name} was placed on {new.node}, which the server does not know")
        assert stored is not None
        node = stored.value
        where = f"{new.name} was placed on {node.name}"
        require(not node.cordoned, f"{where}, which is cordoned")
        require(node.state is NodeState.READY, f"{where}, which is {node.state}")
        container, schedule = self._spec(new)
        require(container.runtime in self.runtimes.get(node.name, frozenset()), f"{where} without its runtime")
        for constraint in schedule.constraints:
            require(self._allows(constraint, node.name), f"{where} against its constraint {constraint!r}")
        room, used = self.rooms.get(node.name, Amounts()), self.used.get(node.name, Amounts())
        require(used.fits(room), f"{where}: {used} is wanted there, it has {room}")

    def _allows(self, constraint: str, node: str) -> bool:
        """The simulator's services only use ``node.labels.<key> == <value>`` and ``!=``."""
        for operator in (" == ", " != "):
            key, found, value = constraint.partition(operator)
            if found:
                label = self.labels.get(node, {}).get(key.removeprefix("node.labels."))
                return (label == value) == (operator == " == ")
        raise ValueError(f"the oracle does not understand the constraint {constraint!r}")

    def _spec(self, instance: Instance) -> tuple[ContainerSpec, Schedule]:
        """As of the life of the service in which the instance was made; later lives count revisions anew."""
        lives = self.specs.get((instance.service, instance.revision), [])
        for created_at, container, schedule in reversed(lives):
            if created_at <= instance.created_at:
                return container, schedule
        raise InvariantBroken(f"{instance.name} is of revision {instance.revision}, which never was")

    def _present_service(self, new: Instance, done: str) -> Service:
        held = self.services.get(new.service)
        require(held is not None, f"{new.name} was {done} though its service is not in the store")
        assert held is not None
        service = held[0]
        require(
            new.revision == service.revision,
            f"{new.name} of revision {new.revision} was {done}, {service.name} is at {service.revision}",
        )
        return service

    def _created(self, new: Instance) -> None:
        """Made from what the service is now, and not more than it asks for."""
        service = self._present_service(new, "created")
        wanted = sum(self._is_wanted(name) for name in self.of_service.get(service.name, ()))
        most = service.replicas + max(1, service.update.parallelism)
        require(wanted <= most, f"{service.name} has {wanted} wanted instances, {most} would be the most")

    def _is_wanted(self, name: str) -> bool:
        instance = self.instances[name][0]
        status = self._status_of(instance)
        return instance.wanted == "running" and (status is None or status.state not in _ENDED)

    def _status(self, new: InstanceStatus, revision: int) -> None:
        before = self.statuses.get(new.name)
        if before is not None and before[0].uid == new.uid:
            old = before[0]
            require(old.state not in _ENDED, f"{new.name} was {old.state}, and is told to be {new.state}")
            require(_FORWARD[new.state] >= _FORWARD[old.state], f"{new.name} went from {old.state} back to {new.state}")
        held = self.instances.get(new.name)
        require(
            held is None or held[0].uid != new.uid or held[0].node == new.node,
            f"{new.node} told of {new.name}, which is on {held[0].node if held else None}",
        )
        if held is not None and held[0].uid == new.uid:
            self._count(held[0], self._status_of(held[0]), -1)
            self._count(held[0], new, 1)
        self.statuses[new.name] = (new, revision)

    def _status_of(self, instance: Instance) -> InstanceStatus | None:
        held = self.statuses.get(instance.name)
        return held[0] if held is not None and held[0].uid == instance.uid else None

    def _count(self, instance: Instance, status: InstanceStatus | None, sign: int) -> None:
        """Room taken by what is wanted live: on a node, wanted running, not finished."""
        if instance.node is None or instance.wanted != "running":
            return
        if status is not None and status.state in _ENDED:
            return
        container, _ = self._spec(instance)
        taken = Amounts(container.resources.cpu_millis, container.resources.memory_bytes)
        self.used[instance.node] = self.used.get(instance.node, Amounts()).plus(taken, sign)

    def _check_deletion(self, gone: Instance) -> None:
        """An instance may only be forgotten when nothing of it can be alive on a node that is reachable."""
        if gone.node is None or gone.uid not in self.live.get(gone.node, {}):
            return
        node = self.nodes.get(gone.node)
        require(
            node is None or node[0].state is NodeState.LOST or gone.uid in self.given_up,
            f"{gone.name} was deleted while its container runs on {gone.node}, which is {node and node[0].state}",
        )

    # --- what users were promised ---

    def acknowledge(self, name: str, revision: int, service: Service | None) -> None:
        """A user was told that the service is now this (None: deleted)."""
        self.acknowledged[name] = (revision, service)
        self.services_changed[name] = None
        held = self.services.get(name)
        if held is None:
            require(service is None, f"service {name} was acknowledged and is not in the store")
        elif held[1] <= revision:
            require(held[0] == service, f"service {name} in the store is not what was acknowledged")

    def check_acknowledged(self, attempts: dict[str, list[Service | None]]) -> None:
        """Every service is what was acknowledged last, or what was tried after it without an answer."""
        names, self.services_changed = self.services_changed, {}
        for name in names:
            if name not in self.acknowledged:
                continue
            revision, service = self.acknowledged[name]
            held = self.services.get(name)
            present = held[0] if held is not None else None
            allowed = [service, *attempts.get(name, [])]
            require(present in allowed, f"service {name} is {present}, acknowledged at {revision} was {service}")

    def check_report(self, statuses: Iterable[InstanceStatus]) -> None:
        """A report was acknowledged: every status of an instance that exists is in the store, or a later one is."""
        for status in statuses:
            held = self.instances.get(status.name)
            if held is None or held[0].uid != status.uid or held[0].node != status.node:
                continue
            stored = self._status_of(held[0])
            require(
                stored is not None and _FORWARD[stored.state] >= _FORWARD[status.state],
                f"{status.name} {status.state} was acknowledged, the store has {stored and stored.state}",
            )

    # --- engines ---

    def saw_engine(self, node: str, live: dict[str, str], orders_revision: int) -> None:
        """What really runs on a node: uid -> instance name. ``orders_revision`` is that of its agent's full orders."""
        before = self.live.get(node, {})
        if before == live:
            return
        self.checks += 1
        self.live[node] = live
        for uid, name in live.items():
            if uid not in before:
                self._started(node, uid, name, orders_revision)

    def _started(self, node: str, uid: str, name: str, orders_revision: int) -> None:
        for other, running in self.live.items():
            for its_uid, its_name in running.items():
                if (other, its_uid) == (node, uid):
                    continue
                require(its_uid != uid, f"{name} ({uid}) runs on {node} and on {other}")
                require(
                    its_name != name or its_uid in self.given_up or self._is_lost(other),
                    f"two containers of {name} run: {its_uid} on {other} and {uid} on {node}",
                )
        again = uid in self.ever_live
        self.ever_live[uid] = node
        held = self.statuses.get(name)
        if held is not None and held[0].uid == uid and again:
            state, told_at = held[0].state, held[1]
            seen = state in (InstanceState.RUNNING, InstanceState.STOPPING, *_ENDED)
            require(
                not (seen and told_at <= orders_revision),
                f"{name} ({uid}) was {state}, its container had ended, and it was started again on {node}",
            )

    def _is_lost(self, node: str) -> bool:
        held = self.nodes.get(node)
        return held is None or held[0].state is NodeState.LOST
