"""The lists of the API that can be watched."""

from __future__ import annotations

from collections.abc import Iterable

from newbon_core.apiserver.context import Context
from newbon_core.apiserver.sse import Item
from newbon_core.apiserver.views import event_view, instance_view, node_view, past_view, present_view, service_view
from newbon_core.model import (
    EventBatch,
    Instance,
    InstanceStatus,
    Node,
    NodeStatus,
    Revision,
    Service,
    revision_name,
)
from newbon_core.state.codec import ObjectType

InstanceKey = tuple[str, int]


def instance_key(name: str) -> InstanceKey:
    """Instances sort by service and number; their names tell both."""
    service, _, number = name.rpartition("-")
    return (service, int(number)) if service and number.isascii() and number.isdigit() else (name, -1)


class Services:
    """Services, with the number of their running instances."""

    kinds: frozenset[ObjectType] = frozenset({Service, Instance, InstanceStatus})
    pace_s = 0.2

    def __init__(self, context: Context) -> None:
        self._cache = context.cache

    def keys(self) -> Iterable[str]:
        return list(self._cache.services)

    def view(self, key: str) -> Item | None:
        stored = self._cache.services.get(key)
        return service_view(self._cache, stored.value) if stored is not None else None

    def touched(self, kind: ObjectType, name: str) -> Iterable[str]:
        return (name,) if kind is Service else (instance_key(name)[0],)

    def name(self, key: str) -> str:
        return key


class Instances:
    """Instances; of one service, where one is named."""

    kinds: frozenset[ObjectType] = frozenset({Instance, InstanceStatus, Service})
    pace_s = 0.0

    def __init__(self, context: Context, service: str | None = None) -> None:
        self._context = context
        self._cache = context.cache
        self._service = service

    def keys(self) -> Iterable[InstanceKey]:
        if self._service is not None:
            return [(one.service, one.number) for one in self._cache.instances_of(self._service)]
        return [(stored.value.service, stored.value.number) for stored in list(self._cache.instances.values())]

    def view(self, key: InstanceKey) -> Item | None:
        stored = self._cache.instances.get(self.name(key))
        if stored is None:
            return None
        return instance_view(self._cache, self._context.fleet, stored.value, self._context.now())

    def touched(self, kind: ObjectType, name: str) -> Iterable[InstanceKey]:
        if kind is Service:
            # Instances have the labels of their service.
            of_it = self._cache.instances_of(name) if self._service in (None, name) else ()
            return [(one.service, one.number) for one in of_it]
        key = instance_key(name)
        return (key,) if self._service in (None, key[0]) else ()

    def name(self, key: InstanceKey) -> str:
        return f"{key[0]}-{key[1]}"


class Nodes:
    """Nodes, with what is free on them."""

    kinds: frozenset[ObjectType] = frozenset({Node, NodeStatus, Instance, InstanceStatus})
    pace_s = 0.2

    def __init__(self, context: Context) -> None:
        self._context = context
        self._cache = context.cache

    def keys(self) -> Iterable[str]:
        return list(self._cache.nodes)

    def view(self, key: str) -> Item | None:
        stored = self._cache.nodes.get(key)
        return node_view(self._cache, self._context.fleet, stored.value) if stored is not None else None

    def touched(self, kind: ObjectType, name: str) -> Iterable[str]:
        if kind in (Node, NodeStatus):
            return (name,)
        stored = self._cache.instances.get(name)
        if stored is None:
            # The instance is gone, and with it the knowledge where it was.
            return self.keys()
        return (stored.value.node,) if stored.value.node is not None else ()

    def name(self, key: str) -> str:
        return key


class Revisions:
    """The versions of services, past and present."""

    kinds: frozenset[ObjectType] = frozenset({Revision, Service})
    pace_s = 0.0

    def __init__(self, context: Context, service: str | None = None) -> None:
        self._cache = context.cache
        self._service = service

    def keys(self) -> Iterable[str]:
        past = [name for name in list(self._cache.revisions) if self._wanted(name.partition("/")[0])]
        services = list(self._cache.services.values())
        present = [revision_name(s.value.name, s.value.revision) for s in services if self._wanted(s.value.name)]
        return dict.fromkeys([*past, *present])

    def view(self, key: str) -> Item | None:
        service, _, _ = key.partition("/")
        stored = self._cache.services.get(service)
        if stored is not None and revision_name(service, stored.value.revision) == key:
            return present_view(stored.value)
        past = self._cache.revisions.get(key)
        return past_view(past.value) if past is not None else None

    def touched(self, kind: ObjectType, name: str) -> Iterable[str]:
        if not self._wanted(name.partition("/")[0]):
            return ()
        if kind is Revision:
            return (name,)
        stored = self._cache.services.get(name)
        return (revision_name(name, stored.value.revision),) if stored is not None else ()

    def name(self, key: str) -> str:
        return key

    def _wanted(self, service: str) -> bool:
        return self._service in (None, service)


class Events:
    """Events in the order of their time; a key is a batch's name and the place in it."""

    kinds: frozenset[ObjectType] = frozenset({EventBatch})
    pace_s = 0.0

    def __init__(self, context: Context) -> None:
        self._cache = context.cache

    def keys(self) -> Iterable[tuple[str, int]]:
        batches = list(self._cache.event_batches.values())
        return [(stored.value.name, place) for stored in batches for place in range(len(stored.value.events))]

    def view(self, key: tuple[str, int]) -> Item | None:
        stored = self._cache.event_batches.get(key[0])
        return event_view(stored.value.events[key[1]]) if stored is not None else None

    def touched(self, kind: ObjectType, name: str) -> Iterable[tuple[str, int]]:
        del kind
        stored = self._cache.event_batches.get(name)
        return [(name, place) for place in range(len(stored.value.events))] if stored is not None else ()

    def name(self, key: tuple[str, int]) -> str:
        return f"{key[0]}/{key[1]}"
