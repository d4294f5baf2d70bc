"""Which nodes are ready, unready or lost, and what becomes of the instances of lost ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from newbon_core.controllers.index import Index
from newbon_core.controllers.losses import REMOVED, Pace, is_paced, is_silent, plan_losses
from newbon_core.controllers.placing import Unit, node_event
from newbon_core.controllers.settings import ControlSettings
from newbon_core.model import FINISHED, Event, EventLevel, Instance, Node, NodeState
from newbon_core.state.cache import Cache
from newbon_core.state.changes import Changes
from newbon_core.state.fleet import Fleet

_Held = dict[str, list[tuple[str, list[str]]]]
"""By zone: its lost nodes, each with the names of the instances that are bound to it."""


def judge_node(
    node: Node,
    heard_at: float | None,
    errors: Mapping[str, str] | None,
    base: float,
    now: float,
    lost_after_s: float,
) -> Node:
    """The node as it has to be stored now; the same object where nothing changes.

    ``heard_at`` and ``errors`` are what this server heard itself (None: nothing yet). ``base`` is when it began to
    listen: a node that it has not heard gets its full time from then on, and one that was lost before stays lost.
    """
    if node.state is NodeState.LOST:
        if heard_at is None or now - heard_at >= lost_after_s:
            return node
    elif now - max(heard_at if heard_at is not None else base, base) >= lost_after_s:
        return _with(node, NodeState.LOST, f"not heard for {lost_after_s:g} s", now)
    if errors is None:
        return node
    if errors:
        reason = "; ".join(f"{runtime}: {why}" for runtime, why in sorted(errors.items()))
        return _with(node, NodeState.UNREADY, reason, now)
    if node.state is NodeState.READY:
        return node
    return _with(node, NodeState.READY, "heard again" if node.state is NodeState.LOST else "", now)


def _with(node: Node, state: NodeState, reason: str, now: float) -> Node:
    if node.state is state and node.state_reason == reason:
        return node
    since = node.state_since if node.state is state else now
    return replace(node, state=state, state_reason=reason, state_since=since)


def describe(old: Node, new: Node, now: float) -> Event:
    """The event of a node's change of state."""
    level: EventLevel = "info" if new.state is NodeState.READY else "warning"
    if new.state is NodeState.LOST:
        level = "error"
    reason = f"Node{new.state.value.capitalize()}"
    why = f": {new.state_reason}" if new.state_reason else ""
    was = f", was {old.state.value}" if old.state is not new.state else ""
    return node_event(now, level, reason, new.name, f"{new.name} is {new.state.value}{was}{why}")


class NodesController:
    """``base`` is when this server began to listen. ``wake`` asks for a look at a node at a time."""

    def __init__(
        self,
        cache: Cache,
        fleet: Fleet,
        index: Index,
        settings: ControlSettings,
        wake: Callable[[float, str], None],
    ) -> None:
        self._cache = cache
        self._fleet = fleet
        self._index = index
        self._settings = settings
        self._wake = wake
        self._due: dict[str, float] = {}
        self._paces: dict[str, Pace] = {}
        self.base = 0.0
        self.wake_at: float | None = None

    def due(self, name: str) -> None:
        """The time to look at a node has come."""
        self._due.pop(name, None)
        self._index.nodes[name] = None

    def plan(self, now: float) -> list[Unit]:
        """Units for nodes whose state changes, or, when there are none, for instances of lost nodes."""
        for name in self._fleet.take_news():
            self._index.nodes[name] = None
        units: list[Unit] = []
        for name in self._index.nodes:
            units += self._judge(name, now)
        self._index.nodes.clear()
        return units or self._plan_losses(now)

    def _judge(self, name: str, now: float) -> list[Unit]:
        stored = self._cache.nodes.get(name)
        if stored is None:
            return []
        heard_at = self._fleet.last_heard.get(name)
        errors = self._fleet.runtime_errors.get(name)
        judged = judge_node(stored.value, heard_at, errors, self.base, now, self._settings.lost_after_s)
        if judged.state is not NodeState.LOST and name not in self._due:
            at = max(heard_at if heard_at is not None else self.base, self.base) + self._settings.lost_after_s
            self._due[name] = at
            self._wake(at, name)
        if judged is stored.value:
            return []
        changes = Changes()
        changes.update(judged, stored)
        changes.events.append(describe(stored.value, judged, now))
        return [Unit(changes, node=name)]

    def _plan_losses(self, now: float) -> list[Unit]:
        """Give up what is bound to lost nodes, as long as there is a node that could take it."""
        self.wake_at = None
        held = self._held()
        if not held:
            return []
        if not any(not self._silent(name, now) for name in self._index.ready):
            # Nothing could be replaced: what runs unseen had better go on, and it is likelier that the fault is here.
            held = {zone: nodes for zone, nodes in held.items() if zone == REMOVED}
        given_up = plan_losses(held, self._paced(held, now), now)
        units = [unit for node, names in given_up.items() for unit in self._give_up(node, names, now)]
        if sum(len(names) for nodes in held.values() for _, names in nodes) > len(units):
            self.wake_at = now + 1 / self._settings.pace_per_s
        return units

    def _held(self) -> _Held:
        held: _Held = {}
        for name in list(self._index.losing):
            node = self._cache.nodes.get(name)
            names = [one.name for one in self._cache.instances_on(name) if self._is_alive(one)]
            if not names or (node is not None and node.value.state is not NodeState.LOST):
                del self._index.losing[name]
                continue
            zone = REMOVED if node is None else self._index.zones.get(name, "")
            held.setdefault(zone, []).append((name, names))
        return held

    def _is_alive(self, instance: Instance) -> bool:
        status = self._cache.status_of(instance)
        return instance.wanted != "lost" and not (status is not None and status.state in FINISHED)

    def _silent(self, name: str, now: float) -> bool:
        stored = self._cache.nodes.get(name)
        heard_at = self._fleet.last_heard.get(name)
        return stored is None or is_silent(stored.value, heard_at, self.base, now, self._settings)

    def _paced(self, zones: _Held, now: float) -> dict[str, Pace]:
        rate = self._settings.pace_per_s
        paces: dict[str, Pace] = {}
        for zone in zones:
            members = self._index.zone_members.get(zone, {})
            silent = sum(self._silent(name, now) for name in members)
            if is_paced(silent, len(members), self._settings):
                paces[zone] = self._paces.get(zone) or Pace(rate, max(1.0, rate), now)
        self._paces = paces
        return paces

    def _give_up(self, node: str, names: Sequence[str], now: float) -> list[Unit]:
        units: list[Unit] = []
        for name in names:
            stored = self._cache.instances.get(name)
            if stored is None:
                continue
            changes = Changes()
            changes.require(Node, node, self._cache.nodes.get(node))
            changes.update(replace(stored.value, wanted="lost", reason=f"node {node} was lost"), stored)
            units.append(Unit(changes, stored.value.service, node=node))
        if units:
            count = f"{len(units)} of its instances are" if len(units) > 1 else "1 of its instances is"
            message = f"{count} given up, to be replaced elsewhere"
            units[0].changes.events.append(node_event(now, "warning", "InstancesLost", node, message))
        return units
