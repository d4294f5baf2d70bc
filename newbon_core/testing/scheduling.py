"""One question to the scheduler, for plugin authors and the curious: ``schedule(request, make_nodes(5)).explain()``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from newbon_core.hooks.host import PluginHost
from newbon_core.hooks.types import PlacementRequest
from newbon_core.model import Node, NodeStatus
from newbon_core.scheduler import Scheduler
from newbon_core.scheduler.explain import Explanation
from newbon_core.scheduler.group import GroupPlacement

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Scheduled:
    """What was decided, and the scheduler to ask why."""

    request: PlacementRequest
    placement: GroupPlacement
    scheduler: Scheduler

    @property
    def nodes(self) -> list[str | None]:
        """One per replica; None for those without room."""
        return self.placement.nodes

    def explain(self) -> Explanation:
        """Node by node: every filter's and every score's answer."""
        return self.scheduler.explain(self.request)


def make_nodes(count: int, **columns: object) -> list[NodeStatus]:
    """Nodes ``n1``, ``n2``, …; each column is one value for all, or a list or tuple of one per node.

    Columns are fields of NodeStatus; those it does not have are labels: ``make_nodes(3, memory_bytes=[1, 2, 3],
    zone=["a", "a", "b"])``. Raises ValueError where a list is not as long as there are nodes.
    """
    fields = set(NodeStatus.__dataclass_fields__)
    rows: list[dict[str, Any]] = [
        {"cpu_millis": 4000, "memory_bytes": 8 * GIB, "runtimes": {"docker": "27.0"}, "labels": {}}
        for _ in range(count)
    ]
    for column, values in columns.items():
        each = values if isinstance(values, list | tuple) else [values] * count
        if len(each) != count:
            raise ValueError(f"column {column!r} has {len(each)} values for {count} nodes")
        for row, value in zip(rows, each, strict=True):
            if column in fields:
                row[column] = value
            else:
                row["labels"] = {**row["labels"], column: str(value)}
    for number, row in enumerate(rows, start=1):
        row.setdefault("name", f"n{number}")
    return [NodeStatus(**row) for row in rows]


def schedule(
    request: PlacementRequest,
    nodes: Sequence[NodeStatus],
    plugins: PluginHost | Mapping[str, object] | None = None,
) -> Scheduled:
    """Place a request on empty nodes. ``plugins``: a host, plugin objects by name, or those that are installed."""
    if plugins is None:
        host = PluginHost.discover()
    else:
        host = plugins if isinstance(plugins, PluginHost) else PluginHost.of_objects(plugins)
    scheduler = Scheduler(host)
    for status in nodes:
        scheduler.table.upsert_node(Node(name=status.name), status)
    return Scheduled(request, scheduler.place(request), scheduler)
