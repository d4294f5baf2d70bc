"""Objects of the model in few words, and a cache that holds them: for tests of what decides from a cache."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from newbon_core.model import (
    ContainerSpec,
    Instance,
    InstanceState,
    InstanceStatus,
    Node,
    NodeStatus,
    Restart,
    Service,
    Update,
)
from newbon_core.state.cache import Cache
from newbon_core.state.codec import Object, encode, key_for
from newbon_core.store.base import KeyValue, Put, Store

GIB = 2**30


def make_service(name: str = "web", replicas: int = 1, **fields: Any) -> Service:
    """A service of the image ``app``; ``restart``, ``update`` and all else as keywords."""
    fields.setdefault("container", ContainerSpec(image="app"))
    fields.setdefault("restart", Restart())
    fields.setdefault("update", Update())
    return Service(name=name, replicas=replicas, **fields)


def make_instance(name: str = "web-1", node: str | None = "n1", **fields: Any) -> Instance:
    """``web-1`` is number 1 of service ``web``; its uid is ``uid-web-1`` unless told otherwise."""
    service, _, number = name.rpartition("-")
    values: dict[str, Any] = {
        "uid": f"uid-{name}",
        "service": service,
        "number": int(number),
        "revision": 1,
        "created_at": float(number),
    }
    return Instance(name=name, node=node, **{**values, **fields})


def make_status(instance: Instance, state: InstanceState = InstanceState.RUNNING, **fields: Any) -> InstanceStatus:
    """What the instance's own node tells of it."""
    return InstanceStatus(name=instance.name, uid=instance.uid, node=instance.node or "", state=state, **fields)


def make_node(name: str = "n1", **fields: Any) -> Node:
    """A ready node."""
    return Node(name=name, **fields)


def make_node_status(name: str = "n1", **fields: Any) -> NodeStatus:
    """A host of 4 cores and 8 GiB with the docker runtime."""
    values: dict[str, Any] = {"cpu_millis": 4000, "memory_bytes": 8 * GIB, "runtimes": {"docker": "27.0"}}
    return NodeStatus(name=name, **{**values, **fields})


def make_cache(objects: Iterable[Object] = (), revision: int = 1) -> Cache:
    """A cache that holds these objects, all written at one revision."""
    cache = Cache()
    items = [KeyValue(key_for(one), encode(one), revision, revision) for one in objects]
    cache.load(items, revision)
    return cache


def store_objects(store: Store, objects: Iterable[Object]) -> None:
    """Write objects one by one."""
    for one in objects:
        store.txn([], [Put(key_for(one), encode(one))])


def at_revision(service: Service, revision: int) -> Service:
    """The service as of another revision, with a container that says so."""
    container = replace(service.container, env={"REVISION": str(revision)})
    return replace(service, revision=revision, container=container)
