"""Which nodes take a group's replicas: exactly what a greedy choice, one replica after another, would give.

Greedy takes the node whose next score is highest, the first by name among equals. Every node's scores are a sequence
(module ``layers``), so this is a merge of sequences, and a merge by heads is a stable sort by the *lowest score so far*
within each sequence: what follows a low head comes out with it. That sort is one NumPy call for the whole group.
Where scores depend on domains besides, module ``domains`` takes over.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from newbon_core.hooks.types import BoolArray, DomainTerm, FloatArray, IntArray
from newbon_core.scheduler.domains import choose_by_domains
from newbon_core.scheduler.picks import Picks, Values, cut_short


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
        return choose_by_domains(values, candidates, count, terms)
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


def _choose_plain(values: Values, candidates: IntArray, count: int) -> Picks:
    first = values(0)
    columns = _leading(first[candidates], candidates, count)
    depth = min(count, -(-count // len(columns)) + 1)
    while True:
        own = np.stack([values(j)[columns] for j in range(depth)])
        chosen, layers = _merge(own, count)
        taken = np.bincount(chosen, minlength=len(columns))
        if depth >= count or not cut_short(chosen, taken == depth, count):
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
