"""What changed since the last step, sorted: rosters of services, the scheduler's table, zones. A change costs O(1)."""

from __future__ import annotations

from collections import deque

from newbon_core.controllers.losses import zone_of
from newbon_core.controllers.placing import Table, spec_of
from newbon_core.controllers.roster import Roster
from newbon_core.model import (
    FINISHED,
    ContainerSpec,
    EventBatch,
    Instance,
    InstanceState,
    InstanceStatus,
    Node,
    NodeState,
    NodeStatus,
    Revision,
    RevisionSpec,
    Schedule,
    Service,
)
from newbon_core.state.cache import Cache, ObjectChange
from newbon_core.state.codec import ObjectType

_Item = tuple[ObjectType, str]


class Index:
    """``note`` is called in the cache's thread; all else belongs to the thread of the steps.

    A change only says where to look: what counts is what the cache holds when it is digested. ``services`` and
    ``nodes`` are those that have to be planned anew, in the order in which they changed. All changes up to ``revision``
    were noted; the cache's own revision runs ahead of it, for a cache tells its listeners one after another.
    """

    def __init__(self, cache: Cache, table: Table, zone_label: str) -> None:
        self._zone_label = zone_label
        self._cache = cache
        self._table = table
        self._noted: deque[ObjectChange] = deque()
        self.revision = 0
        self.rosters: dict[str, Roster] = {}
        self.services: dict[str, None] = {}
        self.nodes: dict[str, None] = {}
        self.waiting: dict[str, None] = {}
        self.orphans: dict[str, None] = {}
        self.losing: dict[str, None] = {}
        self.zones: dict[str, str] = {}
        self.zone_members: dict[str, dict[str, None]] = {}
        self.ready: dict[str, None] = {}
        self.events_changed = True
        self._specs: dict[tuple[str, int], RevisionSpec] = {}
        self._bound: dict[str, tuple[str, str, str]] = {}

    def note(self, changes: list[ObjectChange], revision: int) -> None:
        """Remember what to look at."""
        self._noted.extend(changes)
        # Last, so that whoever reads it finds all of them.
        self.revision = revision

    def roster(self, service: str) -> Roster:
        """The roster of a service, a new one where there is none."""
        roster = self.rosters.get(service)
        if roster is None:
            roster = self.rosters[service] = Roster(service)
        return roster

    def seed(self, now: float) -> None:
        """Take all that the cache holds."""
        self.revision = max(self.revision, self._cache.revision)
        for kind in (Node, NodeStatus, Service, Revision, Instance, InstanceStatus):
            for name in list(self._cache.table(kind)):
                self._look(kind, name, None, now)
        self.events_changed = True

    def digest(self, now: float) -> None:
        """Take what changed since the last call."""
        while self._noted:
            change = self._noted.popleft()
            self._look(change.kind, change.name, change, now)

    def _look(self, kind: ObjectType, name: str, change: ObjectChange | None, now: float) -> None:
        if kind is Instance or kind is InstanceStatus:
            self._look_at_instance(name, kind, change, now)
        elif kind is Service:
            self._look_at_service(name)
        elif kind is Node or kind is NodeStatus:
            self._look_at_node(name)
        elif kind is Revision:
            self._look_at_revision(name)
        elif kind is EventBatch:
            self.events_changed = True

    # --- services ---

    def _look_at_service(self, name: str) -> None:
        self.services[name] = None
        stored = self._cache.services.get(name)
        roster = self.roster(name)
        # A changed service is tried again whatever happened to the nodes.
        roster.tried = -1
        if stored is not None:
            service = stored.value
            spec = RevisionSpec(name, service.revision, service.container, service.schedule)
            self._specs[name, service.revision] = spec

    def _look_at_revision(self, name: str) -> None:
        service, _, number = name.rpartition("/")
        stored = self._cache.revisions.get(name)
        roster = self.roster(service)
        if stored is None:
            roster.past.pop(int(number), None)
        else:
            roster.past[int(number)] = None
            past = stored.value
            self._specs[service, past.number] = RevisionSpec(service, past.number, past.container, past.schedule)
        self.services[service] = None

    def forget_service(self, name: str) -> None:
        """Drop the roster of a service of which nothing is left."""
        roster = self.rosters.get(name)
        if roster is not None and roster.empty and name not in self._cache.services:
            del self.rosters[name]
            self._specs = {key: spec for key, spec in self._specs.items() if key[0] != name}

    # --- instances ---

    def _look_at_instance(self, name: str, kind: ObjectType, change: ObjectChange | None, now: float) -> None:
        stored = self._cache.instances.get(name)
        if stored is None:
            self._instance_gone(name, change)
            return
        instance = stored.value
        status = self._cache.status_of(instance)
        roster = self.roster(instance.service)
        roster.put(instance, status)
        self.services[instance.service] = None
        if roster.waiting:
            self.waiting[instance.service] = None
        finished = status is not None and status.state in FINISHED
        bound = (instance.uid, instance.node or "", instance.wanted)
        if finished or instance.node is None:
            if self._bound.pop(name, None) is not None or kind is Instance:
                self._table.remove_instance(name)
                if finished and status is not None:
                    self._note_failure(instance, status, change, now)
        elif self._bound.get(name) != bound:
            self._bound[name] = bound
            self._table.upsert_instance(instance, self._spec_of(instance))
            if instance.wanted != "lost" and self._is_lost(instance.node):
                self.losing[instance.node] = None

    def _instance_gone(self, name: str, change: ObjectChange | None) -> None:
        self._bound.pop(name, None)
        self._table.remove_instance(name)
        service, _, number = name.rpartition("-")
        old = change.old if change is not None and isinstance(change.old, Instance) else None
        if old is not None or service in self.rosters:
            self.roster(service).remove(name, int(number) if number.isdigit() else 1)
            self.services[service] = None
        if name in self._cache.statuses:
            self.orphans[name] = None

    def _note_failure(
        self, instance: Instance, status: InstanceStatus, change: ObjectChange | None, now: float
    ) -> None:
        new = change is not None and change.kind is InstanceStatus
        if new and status.state is InstanceState.FAILED and instance.node is not None:
            self._table.record_failure(instance.service, instance.node, now)

    def _spec_of(self, instance: Instance) -> RevisionSpec:
        spec = spec_of(instance, self._cache.services, self._specs)
        # Nothing tells any more what it reserves: it belongs to a deleted service, and goes.
        return spec or RevisionSpec(instance.service, instance.revision, ContainerSpec(image=""), Schedule())

    # --- nodes ---

    def _look_at_node(self, name: str) -> None:
        self.nodes[name] = None
        stored, status = self._cache.nodes.get(name), self._cache.node_statuses.get(name)
        zone = self.zones.pop(name, None)
        if zone is not None:
            self.zone_members[zone].pop(name, None)
            if not self.zone_members[zone]:
                del self.zone_members[zone]
        self.ready.pop(name, None)
        if stored is None:
            self._table.remove_node(name)
        else:
            self._table.upsert_node(stored.value, status.value if status is not None else None)
            zone = zone_of(stored.value, status.value if status is not None else None, self._zone_label)
            self.zones[name] = zone
            self.zone_members.setdefault(zone, {})[name] = None
            if stored.value.state is NodeState.READY:
                self.ready[name] = None
        if self._is_lost(name):
            self.losing[name] = None
        for instance in self._cache.instances_on(name):
            if instance.wanted == "lost":
                self.services[instance.service] = None

    def _is_lost(self, name: str) -> bool:
        stored = self._cache.nodes.get(name)
        return stored is None or stored.value.state is NodeState.LOST
