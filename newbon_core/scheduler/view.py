"""The node table as plugins see it: read-only, with any number of replicas of the group assumed on every node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from newbon_core.hooks.types import BoolArray, IntArray, LabelColumn, NodeView, PlacementRequest
from newbon_core.model import Taint
from newbon_core.scheduler.claims import Claim
from newbon_core.scheduler.table import Table


class TableView:
    """``NodeTable`` of the plugin contract. Good until the table changes next; columns are made when asked for.

    ``asked`` collects the services whose instances were asked about. ``others`` further instances are assumed on every
    node that take the same as a replica of the request, but each of a service of its own.
    """

    def __init__(self, table: Table, request: PlacementRequest, claim: Claim, added: int = 0, others: int = 0) -> None:
        self.added = added
        self._assumed = added + others
        self.names: Sequence[str] = table.nodes.names
        self.asked: set[str] = set()
        self._table = table
        self._nodes = table.nodes
        self._request = request
        self._claim = claim
        self._made: dict[tuple[str, str], IntArray] = {}

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> NodeView:
        return NodeRow(self, range(len(self.names))[index])

    def _column(self, name: str, less: int) -> IntArray:
        made = self._made.get((name, ""))
        if made is None:
            made = self._made[name, ""] = _less(self._nodes.ints(name), less)
        return made

    @property
    def cpu_free(self) -> IntArray:
        return self._column("cpu_free", self._assumed * self._claim.cpu)

    @property
    def cpu_total(self) -> IntArray:
        return self._column("cpu_total", 0)

    @property
    def memory_free(self) -> IntArray:
        return self._column("memory_free", self._assumed * self._claim.memory)

    @property
    def memory_total(self) -> IntArray:
        return self._column("memory_total", 0)

    @property
    def instance_count(self) -> IntArray:
        """Instances of any service on each node."""
        return self._column("instance_count", -self._assumed)

    def resource_free(self, name: str) -> IntArray:
        """Free units of a countable resource; zeros where nodes do not advertise it."""
        made = self._made.get(("resource", name))
        if made is None:
            taken = self._assumed * dict(self._claim.countable).get(name, 0)
            made = self._made["resource", name] = _less(self._nodes.resource(name, total=False), taken)
        return made

    def resource_total(self, name: str) -> IntArray:
        """All units of a countable resource."""
        return self._nodes.resource(name, total=True)

    def label(self, key: str) -> LabelColumn:
        """The label as a coded column; ``node`` is the node's name."""
        return self._nodes.label(key)

    def count_of(self, service: str) -> IntArray:
        """Instances of one service on each node."""
        made = self._made.get(("count", service))
        if made is None:
            self.asked.add(service)
            counts = self._table.counts_of(service)
            if counts is None:
                counts = self._nodes.zeros()
            made = _less(counts, -self.added if service == self._request.service else 0)
            self._made["count", service] = made
        return made

    def failures_of(self, service: str) -> IntArray:
        """Failures of one service on each node within the last five minutes."""
        made = self._made.get(("failures", service))
        if made is None:
            made = self._made["failures", service] = self._failures(service)
        return made

    def _failures(self, service: str) -> IntArray:
        recent = self._table.failures.counts(service, self._request.now)
        if not recent:
            return self._nodes.zeros()
        failures = np.zeros(len(self), dtype=np.int64)
        for node, count in recent.items():
            slot = self._nodes.slots.get(node)
            if slot is not None:
                failures[slot] = count
        failures.flags.writeable = False
        return failures

    def host_port_used(self, port: int, protocol: str) -> BoolArray:
        """True where an instance holds this host port."""
        if self._assumed and (port, protocol) in self._claim.ports:
            return np.ones(len(self), dtype=np.bool_)
        used = np.zeros(len(self), dtype=np.bool_)
        holders = self._table.port_holders(port, protocol)
        if holders:
            used[holders] = True
        return used

    @property
    def taint_sets(self) -> Sequence[tuple[Taint, ...]]:
        """The distinct sets of taints; ``taint_codes[i]`` is node i's index into it."""
        return self._nodes.taint_sets

    @property
    def taint_codes(self) -> IntArray:
        return self._nodes.taint_codes

    def labels_at(self, index: int) -> Mapping[str, str]:
        """All labels of one node."""
        return self._nodes.facts[index].labels


class NodeRow:
    """One node of a view (``NodeView`` of the plugin contract)."""

    __slots__ = ("_index", "_view")

    def __init__(self, view: TableView, index: int) -> None:
        self._view = view
        self._index = index

    @property
    def name(self) -> str:
        return self._view.names[self._index]

    @property
    def labels(self) -> Mapping[str, str]:
        return self._view.labels_at(self._index)

    @property
    def taints(self) -> Sequence[Taint]:
        return self._view.taint_sets[int(self._view.taint_codes[self._index])]

    @property
    def cpu_free(self) -> int:
        return int(self._view.cpu_free[self._index])

    @property
    def cpu_total(self) -> int:
        return int(self._view.cpu_total[self._index])

    @property
    def memory_free(self) -> int:
        return int(self._view.memory_free[self._index])

    @property
    def memory_total(self) -> int:
        return int(self._view.memory_total[self._index])

    @property
    def instance_count(self) -> int:
        return int(self._view.instance_count[self._index])

    def resource_free(self, name: str) -> int:
        """How many of a countable resource are free; 0 where the node has none."""
        return int(self._view.resource_free(name)[self._index])

    def count_of(self, service: str) -> int:
        """Instances of the service on this node."""
        return int(self._view.count_of(service)[self._index])

    def failures_of(self, service: str) -> int:
        """Failures of the service on this node within the last minutes."""
        return int(self._view.failures_of(service)[self._index])


def _less(column: IntArray, taken: int) -> IntArray:
    if not taken:
        return column
    less: IntArray = column - taken
    less.flags.writeable = False
    return less
