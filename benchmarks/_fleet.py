"""A store filled with a simulated fleet, for benchmarks of the whole server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from newbon_core.model import (
    ContainerSpec,
    Instance,
    InstanceState,
    InstanceStatus,
    Node,
    NodeStatus,
    Placement,
    Resources,
    Service,
)
from newbon_core.state.codec import Object, encode, key_for
from newbon_core.store.base import Put, Store

CPU_MILLIS = 64_000
MEMORY_BYTES = 256 << 30


def nodes(count: int, now: float) -> Iterator[Object]:
    """So many ready nodes of 64 cores and 256 GiB in three zones."""
    for i in range(count):
        name = f"n{i:05d}"
        yield Node(name=name, created_at=now, state_since=now)
        yield NodeStatus(
            name=name, cpu_millis=CPU_MILLIS, memory_bytes=MEMORY_BYTES, labels={"zone": f"z{i % 3}"},
            address=f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}", arch="x86_64", kernel="6.1.0",
            runtimes={"docker": "28.0.0"}, agent_version="0.1.0", boot_id=f"boot-{i}",
        )  # fmt: skip


def running_instances(count: int, per_service: int, node_count: int, now: float) -> Iterator[Object]:
    """So many instances that run, with their services and statuses, dealt out over the nodes."""
    for i in range(count):
        service, number = f"svc-{i // per_service}", i % per_service + 1
        if number == 1:
            container = ContainerSpec(image="registry.example/shop/web:1.4", resources=Resources(cpu_millis=100))
            yield Service(name=service, container=container, replicas=min(per_service, count - i), created_at=now)
        name, uid, node = f"{service}-{number}", f"{i:032x}", f"n{i % node_count:05d}"
        why = Placement(score=0.9, terms={"score_spread": 0.9}, nodes=node_count, feasible=node_count)
        yield Instance(
            name=name, uid=uid, service=service, number=number, revision=1, node=node,
            created_at=now, placed_at=now, placement=why,
        )  # fmt: skip
        yield InstanceStatus(
            name=name, uid=uid, node=node, state=InstanceState.RUNNING, container_id=f"{i:064x}",
            image_id=f"sha256:{7:064x}", address=f"172.17.{i >> 8 & 255}.{i & 255}", started_at=now,
        )  # fmt: skip


def fill(store: Store, objects: Iterable[Object]) -> int:
    """Write the objects, as many to a transaction as the store takes; returns how many."""
    written = 0
    remaining = iter(objects)
    while batch := list(islice(remaining, min(store.max_txn_ops, 1000))):
        store.txn([], [Put(key_for(one), encode(one)) for one in batch])
        written += len(batch)
    return written
