"""A host of the fleet, as operators and the control plane want it (Node) and as its agent saw it (NodeStatus)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class NodeState(StrEnum):
    """How a node stands.

    ``ready`` nodes take instances. An ``unready`` one is heard but has a runtime that does not answer: its instances
    stay, new ones go elsewhere. A ``lost`` one missed its heartbeats and its instances were replaced.
    """

    READY = "ready"
    UNREADY = "unready"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taint:
    """Keeps away every service that does not tolerate it."""

    key: str
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node as operators and the nodes controller set it. ``labels`` override those its agent advertises."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    cordoned: bool = False
    state: NodeState = NodeState.READY
    state_since: float = 0.0
    state_reason: str = ""
    created_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus:
    """What an agent tells of its host when it registers; written again only when it changes.

    ``taints`` are those its node starts with: they count when the node is created, for from then on taints are the
    operator's.
    """

    name: str
    cpu_millis: int
    memory_bytes: int
    countable: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    address: str = ""
    os: str = "linux"
    arch: str = ""
    kernel: str = ""
    runtimes: Mapping[str, str] = field(default_factory=dict)
    agent_version: str = ""
    boot_id: str = ""


def labels_of(node: Node, status: NodeStatus | None) -> dict[str, str]:
    """All labels that constraints and topologies see: built-in ones, the agent's, then the operator's."""
    if status is None:
        return {"node": node.name, **node.labels}
    built_in = {"os": status.os, "arch": status.arch, "kernel": status.kernel}
    built_in |= {f"{runtime}.version": version for runtime, version in status.runtimes.items()}
    return built_in | dict(status.labels) | dict(node.labels) | {"node": node.name}
