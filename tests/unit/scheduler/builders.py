"""Fleets and requests for the scheduler's tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType

import newbon_filter_constraints
import newbon_filter_resources
import newbon_score_spread

from newbon_core.hooks import PlacementRequest
from newbon_core.hooks.host import PluginHost
from newbon_core.model import (
    ContainerSpec,
    Instance,
    Node,
    NodeStatus,
    Port,
    Resources,
    RevisionSpec,
    Schedule,
)
from newbon_core.scheduler import Scheduler, Table

MIB = 1 << 20
GIB = 1 << 30
DEFAULT_PLUGINS: dict[str, ModuleType] = {
    "filter_constraints": newbon_filter_constraints,
    "filter_resources": newbon_filter_resources,
    "score_spread": newbon_score_spread,
}


def scheduler(**plugins: object) -> Scheduler:
    """A scheduler with exactly these plugins; the default set when none is given."""
    return Scheduler(PluginHost.of(**(plugins or DEFAULT_PLUGINS)))


def node(name: str, **fields: object) -> Node:
    return Node(name=name, **fields)  # type: ignore[arg-type]  fields of Node by name


def status(
    name: str,
    cpu: int = 4000,
    memory: int = 8 * GIB,
    countable: Mapping[str, int] | None = None,
    labels: Mapping[str, str] | None = None,
    runtimes: Sequence[str] = ("docker",),
) -> NodeStatus:
    return NodeStatus(
        name=name,
        cpu_millis=cpu,
        memory_bytes=memory,
        countable=countable or {},
        labels=labels or {},
        runtimes=dict.fromkeys(runtimes, "1.0"),
    )


def add_node(table: Table, name: str, cpu: int = 4000, memory: int = 8 * GIB, **labels: str) -> None:
    table.upsert_node(node(name, labels=labels), status(name, cpu, memory))


def container(cpu: int = 0, memory: int = 0, host_port: int | None = None, **countable: int) -> ContainerSpec:
    ports = (Port(name="http", port=80, host_port=host_port),) if host_port is not None else ()
    return ContainerSpec(
        image="app", resources=Resources(cpu_millis=cpu, memory_bytes=memory, countable=countable), ports=ports
    )


def request(
    service: str = "web", count: int = 1, spec: ContainerSpec | None = None, now: float = 0.0, **schedule: object
) -> PlacementRequest:
    return PlacementRequest(
        service=service,
        revision=1,
        container=spec or container(),
        schedule=Schedule(**schedule),  # type: ignore[arg-type]  fields of Schedule by name
        count=count,
        now=now,
    )


def instance(name: str, on: str | None, **fields: object) -> Instance:
    service, _, number = name.rpartition("-")
    return Instance(name=name, uid=name, service=service, number=int(number), revision=1, node=on, **fields)  # type: ignore[arg-type]  fields of Instance by name


def revision(spec: ContainerSpec, service: str = "web") -> RevisionSpec:
    return RevisionSpec(service, 1, spec, Schedule())
