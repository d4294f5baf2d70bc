"""Which nodes take a group's replicas: exactly what a greedy choice, one replica after another, would give.

Greedy takes the node whose next score is highest, the first by name among equals. Every node's scores are a sequence
(module ``layers``), so this is a merge of sequences, and a merge by heads is a stable sort by the *lowest score so
far* within each sequence: what follows a low head comes out with it. That sort is one NumPy call for the whole group.

Domain terms (zones, racks) change the scores of whole domains with each replica. Nodes of the same combination of
domains have the same domain part, so within a combination the merge above holds; between combinations the best head
is taken replica by replica.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from newbon_core.hooks.types import BoolArray, DomainTerm, FloatArray, IntArray

Values = Callable[[int], FloatArray]
"""Own scores of all nodes in layer j, -inf where rejected."""


@dataclass(frozen=True, slots=True)
class Picks:
    """The chosen nodes in the order of choice: their slots, the layer at which each was chosen, and its whole score.

    ``runner_up[k]`` is the slot of the best other node at choice k (-1: none) and ``runner_up_scores[k]`` its score.
    """

    slots: IntArray
    layers: IntArray
    scores: FloatArray
    runner_up: Callable[[], tuple[IntArray, FloatArray]]

    def __len__(self) -> int:
        return len(self.slots)


def in_name_order(passed: BoolArray, order: IntArray | None) -> IntArray:
    """The slots of nodes that passed, in the order of names."""
    found: IntArray = np.flatnonzero(passed) if order is None else order[passed[order]]
    return found


def choose(
    values: Values, passed: BoolArray, order: IntArray | None, count: int, terms: Sequence[DomainTerm] = ()
) -> Picks:
    """Choose nodes for up to ``count`` replicas; fewer where there is no room for more."""
    if count == 1:
        first = values(0)
        for term in terms:
            first = first - term.weight * term.counts[term.codes]
        return _choose_one(first, order)
    candidates = in_name_order(passed, order)
    if not len(candidates):
        return nothing()
    if terms:
        return _choose_by_domains(values, candidates, count, terms)
    return _choose_plain(values, candidates, count)


def nothing() -> Picks:
    """No node at all."""
    none = np.zeros(0, dtype=np.int64)
    return Picks(none, none, np.zeros(0), lambda: (none, np.zeros(0)))


def _choose_one(first: FloatArray, order: IntArray | None) -> Picks:
    if not len(first):
        return nothing()
    slot, score = _best_of(first, order)
    if slot[0] < 0:
        return nothing()

    def runner_up() -> tuple[IntArray, FloatArray]:
        others = first.copy()
        others[slot] = -np.inf
        return _best_of(others, order)

    return Picks(slot, np.zeros(1, dtype=np.int64), score, runner_up)


def _best_of(heads: FloatArray, order: IntArray | None = None) -> tuple[IntArray, FloatArray]:
    best = int(heads.argmax()) if order is None else int(order[heads[order].argmax()])
    score = heads[best]
    return np.array([best if score > -np.inf else -1]), np.array([score])


# --- without domains ---


def _choose_plain(values: Values, candidates: IntArray, count: int) -> Picks:
    first = values(0)
    columns = _leading(first[candidates], candidates, count)
    depth = min(count, -(-count // len(columns)) + 1)
    while True:
        own = np.stack([values(j)[columns] for j in range(depth)])
        chosen, layers = _merge(own, count)
        taken = np.bincount(chosen, minlength=len(columns))
        if depth >= count or not _cut_short(chosen, taken == depth, count):
            break
        # A node without a replica so far gets none: deeper layers only bring more rivals before its first.
        columns = columns[taken > 0]
        depth = min(count, depth + max(1, depth // 2))
    scores = own[layers, chosen]
    slots = columns[chosen]

    def runner_up() -> tuple[IntArray, FloatArray]:
        heads = np.full(len(first), -np.inf)
        heads[candidates] = first[candidates]
        ended = np.vstack([own, np.full(len(columns), -np.inf)])
        heads[columns] = ended[taken, np.arange(len(columns))]
        return _runners_up(slots, scores, heads, candidates)

    return Picks(slots, layers, scores, runner_up)


def _leading(first: FloatArray, candidates: IntArray, count: int) -> IntArray:
    """Only the ``count`` nodes with the best first scores can be chosen at all; in the order of names."""
    if count >= len(candidates):
        return candidates
    kept = np.argsort(-first, kind="stable")[:count]
    kept.sort()
    return candidates[kept]


def _merge(own: FloatArray, count: int) -> tuple[IntArray, IntArray]:
    """The first ``count`` elements in greedy order, as columns and layers of ``own`` (layers x nodes in name order)."""
    depth = len(own)
    lowest = np.minimum.accumulate(own, axis=0).T.ravel()
    order = np.argsort(-lowest, kind="stable")[:count]
    order = order[lowest[order] > -np.inf]
    columns, layers = np.divmod(order, depth)
    return columns, layers


def _cut_short(chosen: IntArray, full: BoolArray, count: int) -> bool:
    """True when a node took all of the layers that were looked at before the last choice was made."""
    if not full.any():
        return False
    ended = chosen[:-1] if len(chosen) == count else chosen
    last = np.full(len(full), -1, dtype=np.int64)
    last[chosen] = np.arange(len(chosen))
    return bool((full & (last < len(ended)) & (last >= 0)).any())


def _runners_up(
    slots: IntArray, scores: FloatArray, heads: FloatArray, candidates: IntArray
) -> tuple[IntArray, FloatArray]:
    """The best other node at each choice is where the next run of choices on another node goes; ``heads`` are what all
    nodes offer after the last choice."""
    if not len(slots):
        return slots, scores
    starts = np.flatnonzero(slots[1:] != slots[:-1]) + 1
    following = np.searchsorted(starts, np.arange(len(slots)), side="right")
    heads = heads.copy()
    heads[slots[-1]] = -np.inf
    last_slot, last_score = _best_of(heads, candidates)
    targets = np.append(slots[starts], last_slot)
    offers = np.append(scores[starts], last_score)
    return targets[following], offers[following]


# --- with domains ---


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


def _choose_by_domains(values: Values, candidates: IntArray, count: int, terms: Sequence[DomainTerm]) -> Picks:
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
        picked = _walk(queues, kinds, terms, count)
        chosen = np.array([queues.rank[e] for e in picked.elements], dtype=np.int64)
        taken = np.bincount(chosen, minlength=len(columns))
        if depth >= count or not _cut_short(chosen, taken == depth, count):
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
    elements: list[int]
    scores: list[float]
    runner_up: list[int]
    runner_up_scores: list[float]

    def add(self, element: int, score: float, runner_up: int, runner_up_score: float) -> None:
        self.elements.append(element)
        self.scores.append(score)
        self.runner_up.append(runner_up)
        self.runner_up_scores.append(runner_up_score)


_NOBODY = (float("inf"), -1, -1)


def _walk(queues: _Queues, kinds: IntArray, terms: Sequence[DomainTerm], count: int) -> _Walk:
    """Take the best head of all combinations, ``count`` times.

    The heap holds (loss, rank, combination, version); an entry of an older version is of a head that has changed since.
    """
    counts = [term.counts.astype(np.float64).tolist() for term in terms]
    weights = [term.weight for term in terms]
    codes = kinds.T.tolist()
    sharing = _sharing(codes)
    place = list(queues.start[:-1])
    ends = queues.start[1:]
    version = [0] * len(codes)

    def part(c: int) -> float:
        return float(sum(weight * held[code] for weight, held, code in zip(weights, counts, codes[c], strict=True)))

    def entry(c: int) -> tuple[float, int, int, int]:
        element = place[c]
        return (part(c) - queues.scores[element], queues.rank[element], c, version[c])

    heap = [entry(c) for c in range(len(codes)) if place[c] < ends[c]]
    heapq.heapify(heap)
    walk = _Walk([], [], [], [])
    while heap and len(walk.elements) < count:
        loss, _, c, _ = heapq.heappop(heap)
        element = place[c]
        while heap and heap[0][3] != version[heap[0][2]]:
            heapq.heappop(heap)
        rival = heap[0][:3] if heap else _NOBODY
        within = queues.other[element]
        if within < ends[c]:
            rival = min(rival, (part(c) - queues.scores[within], queues.rank[within], c))
        walk.add(element, -loss, rival[1], -rival[0])
        place[c] += 1
        for held, code in zip(counts, codes[c], strict=True):
            held[code] += 1.0
        for other in sharing[c]:
            version[other] += 1
            if place[other] < ends[other]:
                heapq.heappush(heap, entry(other))
        while heap and heap[0][3] != version[heap[0][2]]:
            heapq.heappop(heap)
    return walk


def _sharing(codes: Sequence[Sequence[int]]) -> list[list[int]]:
    """For each combination those that share a domain with it, itself among them."""
    members: dict[tuple[int, int], list[int]] = {}
    for c, kind in enumerate(codes):
        for term, code in enumerate(kind):
            members.setdefault((term, code), []).append(c)
    return [sorted({other for term, code in enumerate(kind) for other in members[term, code]}) for kind in codes]
