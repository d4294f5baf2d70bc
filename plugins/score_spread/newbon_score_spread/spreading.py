"""Spread a service's replicas evenly over the labels of ``schedule.spread``, the first one weighing most.

The order is lexicographic: a node where the service failed lately comes after every other; then the domain with fewest
replicas of the service, label by label (``[zone, rack, node]``: racks count within their zone); then the node with
fewest instances of all services. Weights are powers of two, so that sums are exact and equal nodes really are equal
(for some thousand replicas over three labels; beyond that the last criterion fades first).

Beside other scores, 0 is a node in empty domains and about -1 one in the fullest domain of the first label at an even
end.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from newbon_core.hooks import (
    DomainTerm,
    FloatArray,
    IntArray,
    NodeTable,
    PlacementRequest,
    Scores,
    ServiceField,
    hookimpl,
    nameless,
)

NODE = "node"
_PER_INSTANCE = 2.0**-20
"""Weight of one instance of any service; a node is taken to hold fewer than a million."""


@hookimpl
def newbon_service_fields() -> Iterable[ServiceField]:
    """The order of labels to spread over."""
    return [ServiceField(path="schedule.spread")]


@hookimpl
@nameless
def newbon_score_nodes(request: PlacementRequest, nodes: NodeTable) -> Scores:
    """0 for a node in empty domains, less for every replica that its domains hold."""
    levels = tuple(dict.fromkeys(request.schedule.spread))
    counts = nodes.count_of(request.service)
    if not len(nodes):
        return Scores(np.zeros(0))
    present = bool(counts.any())
    held = int(counts.sum()) - nodes.added * len(nodes) if present else 0
    # One step of a level outweighs all that the levels below it can differ by.
    base = _power_above(held + request.count)
    unit = base ** max(0, len(levels) - 1)
    values: FloatArray = nodes.instance_count * np.float64(-_PER_INSTANCE)
    terms: list[DomainTerm] = []
    outer: IntArray | None = None
    fullest = _even_end(int(counts.max()) - nodes.added if present else 0, len(nodes), request.count)
    for place, level in enumerate(levels):
        weight = base ** (len(levels) - 1 - place)
        if level == NODE:
            if present:
                values -= counts * weight
        elif nodes.added == 0:
            outer, size = _domains(level, outer, nodes)
            in_domains = _held(outer, counts, size)
            terms.append(DomainTerm(outer, in_domains, weight))
            if place == 0:
                fullest = _even_end(int(in_domains.max()), size, request.count)
    failures = nodes.failures_of(request.service)
    if failures.any():
        values -= failures * (2.0 * unit * base)
    # Recent failures and other services' instances are meant to weigh beyond the scale.
    return Scores(values, bounds=(-unit * _power_above(fullest), 0.0), domains=tuple(terms), beyond=True)


def _power_above(value: int) -> float:
    return float(1 << value.bit_length())


def _even_end(most: int, number: int, count: int) -> int:
    """About what the fullest of so many nodes (or domains) holds when the group has been spread evenly."""
    return most + -(-count // number)


def _domains(level: str, outer: IntArray | None, nodes: NodeTable) -> tuple[IntArray, int]:
    """Each node's domain of a label within its outer domains; nodes that lack the label form one of their own."""
    column = nodes.label(level)
    size = len(column.values) + 1
    codes: IntArray = np.where(column.codes < 0, size - 1, column.codes)
    if outer is None:
        return codes, size
    found, inner = np.unique(outer * size + codes, return_inverse=True)
    return inner.reshape(-1), len(found)


def _held(codes: IntArray, counts: IntArray, size: int) -> FloatArray:
    """Replicas by domain."""
    return np.bincount(codes, weights=counts, minlength=size).astype(np.float64)
