"""What one instance takes from its node, reduced to what the table counts."""

from __future__ import annotations

from typing import NamedTuple

from newbon_core.model import AUTO_HOST_PORT, ContainerSpec, Node, NodeState, NodeStatus, Taint, labels_of


class Claim(NamedTuple):
    """Reserved cpu (thousandths of a core), memory (bytes), countable resources and fixed host ports."""

    cpu: int
    memory: int
    countable: tuple[tuple[str, int], ...] = ()
    ports: tuple[tuple[int, str], ...] = ()


class Held(NamedTuple):
    """What one instance holds where. ``counted`` False: a lost one, which still takes its room, but is no longer one of
    its service's."""

    node: str
    service: str
    claim: Claim
    counted: bool = True


class NodeFacts(NamedTuple):
    """What the table knows of a node apart from its instances. ``registered`` False: no agent has told of it yet."""

    name: str
    labels: dict[str, str]
    taints: tuple[Taint, ...]
    cpu_total: int
    memory_total: int
    countable: dict[str, int]
    runtimes: frozenset[str]
    state: NodeState
    state_reason: str
    cordoned: bool
    registered: bool

    @property
    def usable(self) -> bool:
        """True when it takes new instances."""
        return self.registered and not self.cordoned and self.state is NodeState.READY


def claim_of(container: ContainerSpec) -> Claim:
    """What an instance of this container takes."""
    resources = container.resources
    countable = tuple(sorted((k, n) for k, n in resources.countable.items() if n)) if resources.countable else ()
    ports: tuple[tuple[int, str], ...] = ()
    if container.ports:
        ports = tuple(
            (port.host_port, port.protocol)
            for port in container.ports
            if port.host_port is not None and port.host_port != AUTO_HOST_PORT
        )
    return Claim(resources.cpu_millis, resources.memory_bytes, countable, ports)


def facts_of(node: Node, status: NodeStatus | None) -> NodeFacts:
    """The facts of a node as operators and its agent tell them."""
    return NodeFacts(
        name=node.name,
        labels=labels_of(node, status),
        taints=tuple(sorted(node.taints, key=lambda taint: (taint.key, taint.value))),
        cpu_total=status.cpu_millis if status is not None else 0,
        memory_total=status.memory_bytes if status is not None else 0,
        countable=dict(status.countable) if status is not None else {},
        runtimes=frozenset(status.runtimes) if status is not None else frozenset(),
        state=node.state,
        state_reason=node.state_reason,
        cordoned=node.cordoned,
        registered=status is not None,
    )
