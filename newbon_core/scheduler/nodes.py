"""The nodes as columns: preallocated arrays by slot, kept in place. A node keeps its slot until another is removed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from newbon_core.hooks.types import BoolArray, IntArray
from newbon_core.model import Taint
from newbon_core.scheduler.claims import Claim, NodeFacts
from newbon_core.scheduler.columns import Coded, LabelSlice, V, frozen

_FIRST_CAPACITY = 16
_INTS = ("cpu_total", "cpu_free", "memory_total", "memory_free", "instance_count")


class NodeColumns:
    """Columns of all nodes. ``layout`` grows with every change but those of free room and instance counts.

    ``names`` are in the order of slots; ``order`` lists the slots in the order of names, the order that breaks ties.
    """

    def __init__(self) -> None:
        self.layout = 0
        self.facts: list[NodeFacts] = []
        self.slots: dict[str, int] = {}
        self._capacity = _FIRST_CAPACITY
        self._ints: dict[str, IntArray] = {name: self._zeros() for name in _INTS}
        self._free: dict[str, IntArray] = {}
        self._total: dict[str, IntArray] = {}
        self._taints: Coded[tuple[Taint, ...]] = Coded(self._capacity)
        self._runtimes: Coded[frozenset[str]] = Coded(self._capacity)
        self._labels: dict[str, Coded[str]] = {}
        self._usable: BoolArray = np.zeros(self._capacity, dtype=np.bool_)
        self._cached_layout = -1
        self._names: tuple[str, ...] = ()
        self._order: IntArray | None = None
        self._candidates: dict[str, BoolArray] = {}
        self._nothing: IntArray = self._zeros()

    def __len__(self) -> int:
        return len(self.facts)

    # --- reading ---

    def ints(self, name: str) -> IntArray:
        """A built-in column of numbers, read-only."""
        return self._shown(self._ints[name])

    def resource(self, name: str, *, total: bool) -> IntArray:
        """Free or all units of a countable resource, read-only; zeros where no node has it."""
        return self._shown((self._total if total else self._free).get(name, self._nothing))

    def zeros(self) -> IntArray:
        """A read-only column of zeros."""
        return self._shown(self._nothing)

    def label(self, key: str) -> LabelSlice:
        """A label as a coded column, built when it is asked for first and kept up from then on."""
        coded = self._labels.get(key)
        if coded is None or coded.wasteful(len(self)):
            coded = self._labels[key] = Coded(self._capacity)
            for slot, facts in enumerate(self.facts):
                coded.set(slot, facts.labels.get(key))
        return LabelSlice(coded, len(self))

    @property
    def taint_sets(self) -> list[tuple[Taint, ...]]:
        """The distinct sets of taints."""
        return self._taints.values

    @property
    def taint_codes(self) -> IntArray:
        """Each node's index into ``taint_sets``, read-only."""
        return self._shown(self._taints.codes)

    @property
    def names(self) -> tuple[str, ...]:
        """Names by slot."""
        self._refresh()
        return self._names

    @property
    def order(self) -> IntArray | None:
        """Slots in the order of names; None where that is 0, 1, 2, …"""
        self._refresh()
        return self._order

    def candidates(self, runtime: str) -> BoolArray:
        """True where the node is ready, not cordoned, and has the runtime; read-only."""
        self._refresh()
        found = self._candidates.get(runtime)
        if found is None:
            having = np.array([runtime in names for names in self._runtimes.values], dtype=np.bool_)
            found = self._usable[: len(self)].copy()
            if len(self):
                found &= having[self._runtimes.codes[: len(self)]]
            frozen(found)
            self._candidates[runtime] = found
        return found

    def _refresh(self) -> None:
        if self._cached_layout == self.layout:
            return
        self._cached_layout = self.layout
        self._candidates = {}
        self._names = tuple(facts.name for facts in self.facts)
        order = sorted(range(len(self)), key=self._names.__getitem__)
        in_order = all(slot == place for place, slot in enumerate(order))
        self._order = None if in_order else np.array(order, dtype=np.int64)

    def _shown(self, column: IntArray) -> IntArray:
        shown = column[: len(self.facts)]
        shown.flags.writeable = False
        return shown

    # --- nodes ---

    def put(self, facts: NodeFacts) -> None:
        """Add a node, or bring what is known of it up to date; its instances' claims stay."""
        slot = self.slots.get(facts.name)
        if slot is None:
            slot = self._add(facts)
        old = self.facts[slot]
        self.layout += 1
        self.facts[slot] = facts
        for name, was, now in (
            ("cpu", old.cpu_total, facts.cpu_total),
            ("memory", old.memory_total, facts.memory_total),
        ):
            self._ints[f"{name}_total"][slot] = now
            self._ints[f"{name}_free"][slot] += now - was
        for resource in old.countable.keys() | facts.countable.keys():
            total = facts.countable.get(resource, 0)
            self._free_of(resource)[slot] += total - old.countable.get(resource, 0)
            self._total[resource][slot] = total
        if self._taints.wasteful(len(self)):
            self._taints = _coded_anew(self._capacity, [one.taints for one in self.facts])
        if self._runtimes.wasteful(len(self)):
            self._runtimes = _coded_anew(self._capacity, [one.runtimes for one in self.facts])
        self._taints.set(slot, facts.taints)
        self._runtimes.set(slot, facts.runtimes)
        self._usable[slot] = facts.usable
        for key, coded in self._labels.items():
            coded.set(slot, facts.labels.get(key))

    def _add(self, facts: NodeFacts) -> int:
        slot = len(self.facts)
        if slot == self._capacity:
            self._grow()
        for column in self._numbers():
            column[slot] = 0
        self.facts.append(facts._replace(cpu_total=0, memory_total=0, countable={}))
        self.slots[facts.name] = slot
        return slot

    def remove(self, name: str) -> None:
        """Forget a node; the last one takes its slot."""
        slot = self.slots.pop(name)
        last = self.facts.pop()
        self.layout += 1
        if last.name == name:
            return
        self.facts[slot] = last
        self.slots[last.name] = slot
        end = len(self.facts)
        for column in (*self._numbers(), *(coded.codes for coded in self._coded())):
            column[slot] = column[end]
        self._usable[slot] = self._usable[end]

    # --- claims ---

    def take(self, slot: int, claim: Claim, count: int) -> None:
        """Reserve ``count`` times a claim on a node; a negative count gives back."""
        ints = self._ints
        if claim.cpu:
            ints["cpu_free"][slot] -= claim.cpu * count
        if claim.memory:
            ints["memory_free"][slot] -= claim.memory * count
        ints["instance_count"][slot] += count
        for resource, units in claim.countable:
            self._free_of(resource)[slot] -= units * count

    def take_many(self, counts: IntArray, claim: Claim) -> None:
        """Reserve ``counts[slot]`` times a claim on every node."""
        shown = len(self)
        ints = self._ints
        if claim.cpu:
            ints["cpu_free"][:shown] -= counts * claim.cpu
        if claim.memory:
            ints["memory_free"][:shown] -= counts * claim.memory
        ints["instance_count"][:shown] += counts
        for resource, units in claim.countable:
            self._free_of(resource)[:shown] -= counts * units

    def _free_of(self, resource: str) -> IntArray:
        if resource not in self._free:
            self._free[resource] = self._zeros()
            self._total[resource] = self._zeros()
        return self._free[resource]

    # --- room ---

    def _zeros(self) -> IntArray:
        return np.zeros(self._capacity, dtype=np.int64)

    def _numbers(self) -> list[IntArray]:
        return [*self._ints.values(), *self._free.values(), *self._total.values()]

    def _coded(self) -> list[Coded[str] | Coded[tuple[Taint, ...]] | Coded[frozenset[str]]]:
        return [self._taints, self._runtimes, *self._labels.values()]

    def _grow(self) -> None:
        self._capacity *= 2
        for columns in (self._ints, self._free, self._total):
            for name, column in columns.items():
                columns[name] = np.concatenate([column, np.zeros(len(column), dtype=np.int64)])
        self._usable = np.concatenate([self._usable, np.zeros(len(self._usable), dtype=np.bool_)])
        self._nothing = self._zeros()
        for coded in self._coded():
            coded.grow(self._capacity)


def _coded_anew(capacity: int, values: Iterable[V]) -> Coded[V]:
    coded: Coded[V] = Coded(capacity)
    for slot, value in enumerate(values):
        coded.set(slot, value)
    return coded
