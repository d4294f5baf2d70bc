"""The greedy choice where scores depend on domains (zones, racks) that replicas fill as they are placed.

Nodes of the same combination of domains have the same domain part, so within a combination the merge of module
``select`` holds; between combinations the best head is taken replica by replica.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from newbon_core.hooks.types import DomainTerm, FloatArray, IntArray
from newbon_core.scheduler.picks import Picks, Values, cut_short


@dataclass(frozen=True, slots=True)
class _Queues:
    """For each combination of domains its elements in greedy order; ``start[c]..start[c + 1]`` are those of
    combination c.

    ``rank`` is a node's place among the candidates in the order of names; ``other[e]`` is the next element on another
    node.
    """

    start: list[int]
    rank: list[int]
    layers: list[int]
    scores: list[float]
    other: list[int]


def choose_by_domains(values: Values, candidates: IntArray, count: int, terms: Sequence[DomainTerm]) -> Picks:
    """Choose among ``candidates`` (slots in the order of names) for up to ``count`` replicas."""
    codes = np.stack([term.codes[candidates] for term in terms])
    kinds, combination = np.unique(codes, axis=1, return_inverse=True)
    combination = combination.reshape(-1)
    first = values(0)[candidates]
    kept = _leading_of_each(first, combination, count + 1)  # one more, for it may be the runner-up
    columns, combination = candidates[kept], combination[kept]
    smallest = int(np.bincount(combination).min())
    depth = min(count, -(-count // (len(kinds[0]) * smallest)) + 1)
    while True:
        own = np.stack([values(j)[columns] for j in range(depth)])
        queues = _queues(own, combination, len(kinds[0]))
        picked = _Race(queues, kinds, terms).run(count)
        chosen = np.array([queues.rank[e] for e in picked.elements], dtype=np.int64)
        taken = np.bincount(chosen, minlength=len(columns))
        if depth >= count or not cut_short(chosen, taken == depth, count):
            break
        depth = min(count, depth + max(1, depth // 2))
    return Picks(
        columns[chosen],
        np.array([queues.layers[e] for e in picked.elements], dtype=np.int64),
        np.array(picked.scores, dtype=np.float64),
        lambda: (np.append(columns, -1)[picked.runner_up], np.array(picked.runner_up_scores)),
    )


def _leading_of_each(first: FloatArray, combination: IntArray, number: int) -> IntArray:
    order = np.lexsort((-first, combination))
    sizes = np.bincount(combination)
    place = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    kept: IntArray = np.sort(order[place < number])
    return kept


def _queues(own: FloatArray, combination: IntArray, combinations: int) -> _Queues:
    depth = len(own)
    lowest = np.minimum.accumulate(own, axis=0).T.ravel()
    groups = np.repeat(combination, depth)
    order = np.lexsort((-lowest, groups))
    order = order[lowest[order] > -np.inf]
    start = np.searchsorted(groups[order], np.arange(combinations + 1)).tolist()
    rank, layers = np.divmod(order, depth)
    runs = np.append(np.flatnonzero(rank[1:] != rank[:-1]) + 1, len(rank))
    other = runs[np.searchsorted(runs, np.arange(len(rank)), side="right")]
    return _Queues(start, rank.tolist(), layers.tolist(), own[layers, rank].tolist(), other.tolist())


@dataclass(slots=True)
class _Walk:
    elements: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    runner_up: list[int] = field(default_factory=list)
    runner_up_scores: list[float] = field(default_factory=list)


_Entry = tuple[float, int, int, int]
"""Loss (lower is better), rank of the node, which one it is (combination or group), and the version that it is of."""

_NOBODY = (float("inf"), -1)


class _Race:
    """The best head of all combinations, again and again.

    Combinations that share their domain of the coarsest term are a group with a heap of its own, for a replica placed
    in that domain changes all their losses alike; a heap of groups stands above. An entry whose version is of the past
    is dropped when it comes to the top.
    """

    def __init__(self, queues: _Queues, kinds: IntArray, terms: Sequence[DomainTerm]) -> None:
        coarsest = min(range(len(terms)), key=lambda t: len(set(kinds[t].tolist())))
        finer = [t for t in range(len(terms)) if t != coarsest]
        self._queues = queues
        self._place = list(queues.start[:-1])
        self._group = kinds[coarsest].tolist()
        self._codes = [[int(kinds[t][c]) for t in finer] for c in range(len(self._place))]
        self._weights = [terms[t].weight for t in finer]
        self._counts = [terms[t].counts.astype(np.float64).tolist() for t in finer]
        self._group_weight = terms[coarsest].weight
        self._group_counts: list[float] = terms[coarsest].counts.astype(np.float64).tolist()
        self._sharing = _sharing(self._codes)
        self._version = [0] * len(self._place)
        self._inner: dict[int, list[_Entry]] = {}
        for c, group in enumerate(self._group):
            self._inner.setdefault(group, []).extend(self._entries(c))
        self._group_version = dict.fromkeys(self._inner, 0)
        self._outer: list[_Entry] = []
        for group, heap in self._inner.items():
            heapq.heapify(heap)
            self._enter(group)

    def _loss(self, c: int, element: int) -> float:
        part = 0.0
        for weight, counts, code in zip(self._weights, self._counts, self._codes[c], strict=True):
            part += weight * counts[code]
        return part - self._queues.scores[element]

    def _entries(self, c: int) -> list[_Entry]:
        """The head of a combination; none when it has been used up."""
        element = self._place[c]
        if element >= self._queues.start[c + 1]:
            return []
        return [(self._loss(c, element), self._queues.rank[element], c, self._version[c])]

    def _group_loss(self, group: int) -> float:
        return self._group_weight * self._group_counts[group]

    def _enter(self, group: int) -> None:
        """Tell the outer heap of a group's best head."""
        heap = self._inner[group]
        _drop_past(heap, self._version)
        if heap:
            loss, rank, _, _ = heap[0]
            heapq.heappush(self._outer, (self._group_loss(group) + loss, rank, group, self._group_version[group]))

    def run(self, count: int) -> _Walk:
        """Take ``count`` heads, or as many as there are."""
        walk = _Walk()
        while self._outer and len(walk.elements) < count:
            loss, _, group, _ = heapq.heappop(self._outer)
            c = heapq.heappop(self._inner[group])[2]
            element = self._place[c]
            rival, rival_rank = self._rival(group, c, element)
            walk.elements.append(element)
            walk.scores.append(-loss)
            walk.runner_up.append(rival_rank)
            walk.runner_up_scores.append(-rival)
            self._take(group, c)
        return walk

    def _rival(self, group: int, c: int, element: int) -> tuple[float, int]:
        """The best head on another node: of another group, another combination of the group, or the same one."""
        _drop_past(self._outer, self._group_version)
        found = self._outer[0][:2] if self._outer else _NOBODY
        inner = self._inner[group]
        _drop_past(inner, self._version)
        if inner:
            found = min(found, (self._group_loss(group) + inner[0][0], inner[0][1]))
        within = self._queues.other[element]
        if within < self._queues.start[c + 1]:
            loss = self._group_loss(group) + self._loss(c, within)
            found = min(found, (loss, self._queues.rank[within]))
        return found

    def _take(self, group: int, c: int) -> None:
        self._place[c] += 1
        self._group_counts[group] += 1.0
        for counts, code in zip(self._counts, self._codes[c], strict=True):
            counts[code] += 1.0
        touched = {group}
        for other in self._sharing[c]:
            self._version[other] += 1
            for entry in self._entries(other):
                heapq.heappush(self._inner[self._group[other]], entry)
            touched.add(self._group[other])
        for one in touched:
            self._group_version[one] += 1
            self._enter(one)
        _drop_past(self._outer, self._group_version)


def _drop_past(heap: list[_Entry], version: Mapping[int, int] | Sequence[int]) -> None:
    while heap and heap[0][3] != version[heap[0][2]]:
        heapq.heappop(heap)


def _sharing(codes: Sequence[Sequence[int]]) -> list[list[int]]:
    """For each combination those that share a domain of a finer term with it, and itself."""
    members: dict[tuple[int, int], list[int]] = {}
    for c, kind in enumerate(codes):
        for term, code in enumerate(kind):
            members.setdefault((term, code), []).append(c)
    return [sorted({c}.union(*(members[term, code] for term, code in enumerate(kind)))) for c, kind in enumerate(codes)]
