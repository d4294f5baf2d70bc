"""What hooks take and what they yield: the scheduling questions.

Providers (runtimes, probes, networks, publishers, balancers, provisioners) are in ``newbon_core.hooks.providers``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from newbon_core.model import ContainerSpec, Schedule, Taint

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementRequest:
    """The replicas of one service revision that want nodes: ``count`` alike ones, placed as a group.

    ``now`` is seconds since the epoch.
    """

    service: str
    revision: int
    container: ContainerSpec
    schedule: Schedule = field(default_factory=Schedule)
    count: int = 1
    now: float = 0.0


class LabelColumn(Protocol):
    """One label over all nodes, coded: ``codes[i]`` is an index into ``values``, or -1 where node i lacks the label."""

    codes: IntArray
    values: Sequence[str]

    @property
    def present(self) -> BoolArray:
        """True where the node has the label."""
        ...

    def equals(self, value: str) -> BoolArray:
        """True where the label has exactly this value."""
        ...

    def is_in(self, values: Sequence[str]) -> BoolArray:
        """True where the label has one of these values."""
        ...

    def where(self, accept: Callable[[str], bool]) -> BoolArray:
        """True where ``accept(value)`` is; asked once per distinct value, False where the label is absent."""
        ...


class NodeView(Protocol):
    """One node, plainly: for filters and scores that look at one node after another."""

    @property
    def name(self) -> str: ...
    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def taints(self) -> Sequence[Taint]: ...
    @property
    def cpu_free(self) -> int: ...
    @property
    def cpu_total(self) -> int: ...
    @property
    def memory_free(self) -> int: ...
    @property
    def memory_total(self) -> int: ...
    @property
    def instance_count(self) -> int: ...

    def resource_free(self, name: str) -> int:
        """How many of a countable resource are free; 0 where the node has none."""
        ...

    def count_of(self, service: str) -> int:
        """Instances of the service on this node."""
        ...

    def failures_of(self, service: str) -> int:
        """Failures of the service on this node within the last minutes."""
        ...


class NodeTable(Protocol):
    """All nodes that could take an instance, as read-only columns of equal length (``len(nodes)``).

    cpu is in thousandths of a core, memory in bytes. While a group is placed the same table is shown again with
    ``added`` replicas of the group assumed on *every* node, and all columns tell of that state.
    """

    names: Sequence[str]
    added: int

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> NodeView: ...

    @property
    def cpu_free(self) -> IntArray: ...
    @property
    def cpu_total(self) -> IntArray: ...
    @property
    def memory_free(self) -> IntArray: ...
    @property
    def memory_total(self) -> IntArray: ...
    @property
    def instance_count(self) -> IntArray:
        """Instances of any service on each node."""
        ...

    def resource_free(self, name: str) -> IntArray:
        """Free units of a countable resource; zeros where nodes do not advertise it."""
        ...

    def resource_total(self, name: str) -> IntArray:
        """All units of a countable resource."""
        ...

    def label(self, key: str) -> LabelColumn:
        """The label as a coded column; ``node`` is the node's name."""
        ...

    def count_of(self, service: str) -> IntArray:
        """Instances of one service on each node."""
        ...

    def failures_of(self, service: str) -> IntArray:
        """Failures of one service on each node within the last five minutes."""
        ...

    def host_port_used(self, port: int, protocol: str) -> BoolArray:
        """True where an instance holds this host port."""
        ...

    @property
    def taint_sets(self) -> Sequence[tuple[Taint, ...]]:
        """The distinct sets of taints; ``taint_codes[i]`` is node i's index into it."""
        ...

    @property
    def taint_codes(self) -> IntArray: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Why one filter turned down a set of nodes, for one category of reasons.

    ``nodes`` of them; ``sentence`` gives the amounts at the nearest miss (``needs 512 MiB, at most 300 MiB free``),
    ``nearest`` is that node's index and ``gap`` says how near it is (0 = would fit; the core keeps the smallest of
    several). ``advice`` is what would have to change (``free 212 MiB of memory on n3, or …``); "" where unknown.
    """

    category: str
    nodes: int
    sentence: str = ""
    nearest: int = -1
    gap: float = 0.0
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A filter's answer: ``passed`` over nodes, and the reason for each node that did not pass.

    ``reason(i)`` is a sentence that starts with its category and a colon and gives amounts:
    ``memory: needs 512 MiB, 300 MiB free``. ``stepwise`` says that a replica placed on one node can change the
    answer for *other* nodes, so that the group must be placed one by one.

    ``summarise(mask)`` is for filters that can tell the reasons of many nodes at once: one Rejection per category over
    the nodes of ``mask``, all of which this filter rejects. Without it the core asks ``reason`` node by node.
    """

    passed: BoolArray
    reason: Callable[[int], str]
    stepwise: bool = False
    summarise: Callable[[BoolArray], Sequence[Rejection]] | None = None


@dataclass(frozen=True, slots=True)
class DomainTerm:
    """A part of a score that depends on how many replicas a node's domain (zone, rack, …) holds.

    Node i's score is reduced by ``weight * counts[codes[i]]``, and ``counts[d]`` grows by one with every replica placed
    in domain d. ``codes`` are 0..len(counts)-1.
    """

    codes: IntArray
    counts: FloatArray
    weight: float


@dataclass(frozen=True, slots=True)
class Scores:
    """A score's answer where a plain array does not say enough.

    ``bounds`` (worst, best) is the scale of ``values``; without it the core takes the range it sees. The worst may be
    the greater number. Values outside of it are an error, unless ``beyond`` says that they are meant: they then weigh
    more than the site's weight. ``values`` is an array of float or int (never of bool) and may depend on node i's own
    state only; what depends on others belongs into ``domains``. ``stepwise`` as in Verdict.
    """

    values: FloatArray
    bounds: tuple[float, float] | None = None
    domains: tuple[DomainTerm, ...] = ()
    stepwise: bool = False
    beyond: bool = False


class PerNodeFilter:
    """A filter written over one node at a time; the host adapts it to ``newbon_filter_nodes``.

    Subclass it, implement ``check``, and let the entry point name the class, if it is made without arguments, or an
    instance. It answers for every request, so it is never silent: let ``check`` give None where it is not concerned.
    An error on one node rejects that node alone.
    """

    def check(self, request: PlacementRequest, node: NodeView) -> str | None:
        """None when the node will do, else the reason: ``category: sentence with amounts``."""
        raise NotImplementedError(f"{type(self).__name__} must implement check()")


class PerNodeScore:
    """A score written over one node at a time; the host adapts it to ``newbon_score_nodes``.

    Subclass it, implement ``score``, and let the entry point name the class or an instance. An error on one node leaves
    the whole score out.
    """

    def score(self, request: PlacementRequest, node: NodeView) -> float:
        """Higher is better; any finite number (True counts as 1), the core normalises."""
        raise NotImplementedError(f"{type(self).__name__} must implement score()")
