"""Everything the store holds, decoded and indexed, at a known revision. Fed by one watch; never written otherwise."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from newbon_core.model import (
    EventBatch,
    Instance,
    InstanceStatus,
    Node,
    NodeStatus,
    Revision,
    Service,
    Token,
)
from newbon_core.state.codec import FOLDERS, ROOT, Object, ObjectType, Undecodable, decode, key_of, parse_key
from newbon_core.store.base import Change, KeyValue, WatchBatch

T_co = TypeVar("T_co", covariant=True)
log = logging.getLogger(__name__)
_NONE: Mapping[str, None] = {}


@dataclass(frozen=True, slots=True)
class Stored(Generic[T_co]):
    """An object and the revision of its last change: what a compare-and-swap compares."""

    value: T_co
    revision: int


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """One object's change; ``old`` or ``new`` is None where it was created or deleted."""

    kind: ObjectType
    name: str
    old: Object | None
    new: Object | None
    revision: int


Listener = Callable[[list[ObjectChange], int], None]


class ListenerFailed(Exception):
    """A listener raised; the text says which and why. The cache and all other listeners have taken the batch."""


class Cache:
    """All objects by kind and name, with the indexes that the steps need.

    One thread feeds it (``load``, ``apply``); any thread may read: the dicts are only ever changed key by key, and
    iterating threads take ``list(...)`` of them, which is atomic in CPython. ``revision`` is raised after the content.
    """

    def __init__(self) -> None:
        self.services: dict[str, Stored[Service]] = {}
        self.revisions: dict[str, Stored[Revision]] = {}
        self.instances: dict[str, Stored[Instance]] = {}
        self.statuses: dict[str, Stored[InstanceStatus]] = {}
        self.nodes: dict[str, Stored[Node]] = {}
        self.node_statuses: dict[str, Stored[NodeStatus]] = {}
        self.event_batches: dict[str, Stored[EventBatch]] = {}
        self.tokens: dict[str, Stored[Token]] = {}
        self.revision = 0
        self.undecodable: dict[str, str] = {}
        self._by_service: dict[str, dict[str, None]] = {}
        self._by_node: dict[str, dict[str, None]] = {}
        self._listeners: tuple[Listener, ...] = ()
        self._owed: dict[Listener, list[ObjectChange]] = {}
        self._advanced = threading.Condition()
        self._tables = cast(
            dict[ObjectType, dict[str, Stored[Object]]],
            {
                Service: self.services,
                Revision: self.revisions,
                Instance: self.instances,
                InstanceStatus: self.statuses,
                Node: self.nodes,
                NodeStatus: self.node_statuses,
                EventBatch: self.event_batches,
                Token: self.tokens,
            },
        )

    # --- reading ---

    def table(self, kind: ObjectType) -> dict[str, Stored[Object]]:
        """All objects of one kind by name."""
        return self._tables[kind]

    def instances_of(self, service: str) -> list[Instance]:
        """The instances of a service, in order of creation."""
        return self._select(self._by_service.get(service, _NONE))

    def instances_on(self, node: str) -> list[Instance]:
        """The instances that are bound to a node."""
        return self._select(self._by_node.get(node, _NONE))

    def status_of(self, instance: Instance) -> InstanceStatus | None:
        """What the agent told of exactly this instance (same uid), if anything."""
        stored = self.statuses.get(instance.name)
        return stored.value if stored is not None and stored.value.uid == instance.uid else None

    def _select(self, names: Iterable[str]) -> list[Instance]:
        found = (self.instances.get(name) for name in list(names))
        return [stored.value for stored in found if stored is not None]

    def wait_for(self, revision: int, timeout_s: float) -> bool:
        """Block until the cache has seen ``revision``; False when the time is over."""
        deadline = time.monotonic() + timeout_s
        with self._advanced:
            while self.revision < revision:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._advanced.wait(left)
        return True

    # --- listening ---

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener(changes, revision)`` in the feeding thread after every batch; returns how to end it."""
        self._listeners = (*self._listeners, listener)

        def unsubscribe() -> None:
            self._listeners = tuple(one for one in self._listeners if one is not listener)
            self._owed.pop(listener, None)

        return unsubscribe

    # --- feeding ---

    def load(self, items: Iterable[KeyValue], revision: int) -> None:
        """Take a whole listing as the present truth."""
        changes = [Change(item.key, item.value, item.create_revision, item.mod_revision) for item in items]
        self.apply(WatchBatch(changes, revision, reset=True))

    def apply(self, batch: WatchBatch) -> list[ObjectChange]:
        """Take a batch of the watch; tells the listeners and returns what changed.

        A listener that raises keeps the batch from nobody else, and is told of it once more before the next one.
        Raises ListenerFailed in the end.
        """
        seen = [one for one in map(self._apply_one, batch.changes) if one is not None]
        if batch.reset:
            seen += self._drop_all_but({change.key for change in batch.changes}, batch.revision)
        with self._advanced:
            self.revision = max(self.revision, batch.revision)
            self._advanced.notify_all()
        failed = [text for text in (self._tell(one, seen) for one in self._listeners) if text]
        if failed:
            raise ListenerFailed("; ".join(failed))
        return seen

    def _tell(self, listener: Listener, seen: list[ObjectChange]) -> str:
        """What went wrong; nothing where all is well."""
        owed = self._owed.pop(listener, None)
        try:
            listener(seen if owed is None else owed + seen, self.revision)
        except Exception as error:
            name = getattr(listener, "__qualname__", repr(listener))
            log.error("the listener %s failed on changes up to revision %d", name, self.revision, exc_info=error)
            if owed is None:
                self._owed[listener] = seen
            return f"{name}: {type(error).__name__}: {error}"
        return ""

    def _apply_one(self, change: Change) -> ObjectChange | None:
        where = parse_key(change.key)
        if where is None:
            return None
        if change.value is None:
            self.undecodable.pop(change.key, None)
            return self._remove(where.kind, where.name, change.revision)
        present = self._tables[where.kind].get(where.name)
        if present is not None and present.revision >= change.revision:
            return None
        try:
            new = decode(where.kind, change.key, change.value)
        except Undecodable as error:
            log.error("unreadable object in the store: %s", error)
            self.undecodable[change.key] = str(error)
            return self._remove(where.kind, where.name, change.revision)
        self.undecodable.pop(change.key, None)
        self._tables[where.kind][where.name] = Stored(new, change.revision)
        if isinstance(new, Instance):
            self._index(new, cast(Instance, present.value) if present is not None else None)
        return ObjectChange(where.kind, where.name, present.value if present else None, new, change.revision)

    def _remove(self, kind: ObjectType, name: str, revision: int) -> ObjectChange | None:
        gone = self._tables[kind].pop(name, None)
        if gone is None:
            return None
        if isinstance(gone.value, Instance):
            self._unindex(self._by_service, gone.value.service, name)
            self._unindex(self._by_node, gone.value.node, name)
        return ObjectChange(kind, name, gone.value, None, revision)

    def _drop_all_but(self, keys: set[str], revision: int) -> list[ObjectChange]:
        dropped = []
        for kind in FOLDERS:
            for name in list(self._tables[kind]):
                if key_of(kind, name) not in keys:
                    change = self._remove(kind, name, revision)
                    if change is not None:
                        dropped.append(change)
        return dropped

    def _index(self, new: Instance, old: Instance | None) -> None:
        if old is not None and old.service != new.service:
            self._unindex(self._by_service, old.service, old.name)
        if old is not None and old.node != new.node:
            self._unindex(self._by_node, old.node, old.name)
        self._by_service.setdefault(new.service, {})[new.name] = None
        if new.node is not None:
            self._by_node.setdefault(new.node, {})[new.name] = None

    @staticmethod
    def _unindex(index: dict[str, dict[str, None]], key: str | None, name: str) -> None:
        if key is None or key not in index:
            return
        index[key].pop(name, None)
        if not index[key]:
            del index[key]


WATCH_PREFIX = ROOT
"""What a cache's watch has to cover."""
