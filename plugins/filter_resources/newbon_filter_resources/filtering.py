"""A node fits when it has free what one more replica reserves, and none of its fixed host ports is taken.

What is not reserved is not asked for: a service without ``resources`` fits on a full node.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from newbon_core.hooks import BoolArray, IntArray, NodeTable, PlacementRequest, Rejection, Verdict, hookimpl, nameless
from newbon_core.model import AUTO_HOST_PORT
from newbon_filter_resources.units import cores, plain, size


class Text(Protocol):
    """Writes an amount for people."""

    def __call__(self, value: int, /, *, up: bool = False) -> str: ...


class Need(NamedTuple):
    """One resource that a replica takes: how much, of what is free, how it is written and told of in advice."""

    category: str
    amount: int
    free: IntArray
    text: Text
    field: str


class FixedPort(NamedTuple):
    """One host port that a replica takes, and where it is taken already."""

    port: int
    protocol: str
    used: BoolArray


@hookimpl
@nameless
def newbon_filter_nodes(request: PlacementRequest, nodes: NodeTable) -> Verdict | None:
    """Reject nodes without room for one more replica."""
    needs = _needs(request, nodes)
    ports = [
        FixedPort(port.host_port, port.protocol, nodes.host_port_used(port.host_port, port.protocol))
        for port in request.container.ports
        if port.host_port is not None and port.host_port != AUTO_HOST_PORT
    ]
    if not needs and not ports:
        return None
    masks = [need.free >= need.amount for need in needs] + [~port.used for port in ports]
    passed = masks[0]
    for mask in masks[1:]:
        passed &= mask
    names = nodes.names
    return Verdict(
        passed,
        lambda index: _reason(index, needs, ports),
        summarise=lambda mask: _summarise(mask, needs, ports, names),
    )


def _needs(request: PlacementRequest, nodes: NodeTable) -> list[Need]:
    resources = request.container.resources
    needs = []
    if resources.cpu_millis:
        needs.append(Need("cpu", resources.cpu_millis, nodes.cpu_free, cores, "resources.cpu"))
    if resources.memory_bytes:
        needs.append(Need("memory", resources.memory_bytes, nodes.memory_free, size, "resources.memory"))
    for name, amount in sorted(resources.countable.items()):
        if amount:
            needs.append(Need(name, amount, nodes.resource_free(name), plain, f"resources.{name}"))
    return needs


def _reason(index: int, needs: Sequence[Need], ports: Sequence[FixedPort]) -> str:
    told = [
        f"{need.category}: needs {need.text(need.amount)}, {need.text(max(0, int(need.free[index])))} free"
        for need in needs
        if need.free[index] < need.amount
    ]
    taken = [f"{port.port}/{port.protocol}" for port in ports if port.used[index]]
    if taken:
        told.append(f"host port: {', '.join(taken)} taken")
    return "; ".join(told)


def _summarise(
    mask: BoolArray, needs: Sequence[Need], ports: Sequence[FixedPort], names: Sequence[str]
) -> list[Rejection]:
    found = []
    for need in needs:
        short = mask & (need.free < need.amount)
        if short.any():
            mask = mask & ~short
            found.append(_short_of(need, np.flatnonzero(short), names))
    if mask.any():
        slots = np.flatnonzero(mask)
        taken = ", ".join(f"{port.port}/{port.protocol}" for port in ports if port.used[slots].any())
        found.append(
            Rejection(
                category="host port",
                nodes=len(slots),
                sentence=f"{taken} taken",
                gap=1.0,
                advice=f"free host port {taken} on a node, or let the engine choose it (host_port: auto)",
            )
        )
    return found


def _short_of(need: Need, slots: IntArray, names: Sequence[str]) -> Rejection:
    free = need.free[slots]
    place = int(free.argmax())
    nearest = int(slots[place])
    most = max(0, int(free[place]))
    missing = need.text(need.amount - most, up=True)
    advice = f"free {missing} of {need.category} on {names[nearest]}"
    if most:
        advice += f", or lower {need.field} to {need.text(most)}"
    return Rejection(
        category=need.category,
        nodes=len(slots),
        sentence=f"needs {need.text(need.amount)}, at most {need.text(most)} free",
        nearest=nearest,
        gap=(need.amount - most) / need.amount,
        advice=advice,
    )
