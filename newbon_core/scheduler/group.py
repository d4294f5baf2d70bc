"""Where a group's replicas go, and why; the why of each is worked out only when it is asked for."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence

import numpy as np

from newbon_core.hooks.types import DomainTerm, FloatArray, IntArray, PlacementRequest, Rejection
from newbon_core.model import Placement
from newbon_core.scheduler.layers import Layers
from newbon_core.scheduler.picks import Picks
from newbon_core.scheduler.rejections import sentence_of


class Segment:
    """Replicas that were chosen at once from the same state of the table; a stepwise group has one per replica."""

    def __init__(self, picks: Picks, layers: Layers, terms: Sequence[tuple[int, DomainTerm]]) -> None:
        self.picks = picks
        self.plugins = [scale.plugin for scale in layers.scales] if len(picks) else []
        self._parts = {j: layers.scored(j).parts for j in set(picks.layers.tolist())}
        self._terms = terms
        self._losses: list[tuple[int, FloatArray]] | None = None
        self._runners_up: tuple[IntArray, FloatArray] | None = None

    def terms(self, k: int) -> dict[str, float]:
        """The weighted score of choice k by plugin."""
        slot = int(self.picks.slots[k])
        values = [float(part[slot]) for part in self._parts[int(self.picks.layers[k])]]
        if self._losses is None:
            self._losses = [(place, self._loss(term)) for place, term in self._terms]
        for place, losses in self._losses:
            values[place] -= float(losses[k])
        return dict(zip(self.plugins, values, strict=True))

    def _loss(self, term: DomainTerm) -> FloatArray:
        """What a domain term took off the score of each choice: earlier choices in the same domain count."""
        codes = term.codes[self.picks.slots]
        order = np.argsort(codes, kind="stable")
        sizes = np.bincount(codes)
        earlier = np.empty(len(codes), dtype=np.int64)
        earlier[order] = np.arange(len(codes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        loss: FloatArray = term.weight * (term.counts[codes] + earlier)
        return loss

    def runner_up(self, k: int) -> tuple[int, float]:
        """Slot and score of the best other node at choice k; slot -1 where there was none."""
        if self._runners_up is None:
            self._runners_up = self.picks.runner_up()
        slots, scores = self._runners_up
        return int(slots[k]), float(scores[k])


class GroupPlacement:
    """The answer to a PlacementRequest.

    ``nodes`` has one name per replica, None for those without room, which come last. ``rejected`` counts nodes by the
    category of the first filter that rejects them: at the end, where replicas are left over, else at the beginning.
    ``rejections`` tells the same with amounts and advice.
    """

    def __init__(
        self,
        request: PlacementRequest,
        names: Sequence[str],
        segments: Sequence[Segment],
        feasible: int,
        rejections: tuple[Rejection, ...],
    ) -> None:
        self.request = request
        self.feasible = feasible
        self.rejections = rejections
        self._names = names
        self._segments = segments
        self._starts: list[int] = []
        chosen: list[str | None] = []
        for segment in segments:
            self._starts.append(len(chosen))
            chosen += map(names.__getitem__, segment.picks.slots.tolist())
        self.placed = len(chosen)
        self.nodes: list[str | None] = chosen + [None] * (request.count - len(chosen))
        self.rejected: Mapping[str, int] = {one.category: one.nodes for one in rejections}

    @property
    def slots(self) -> IntArray:
        """The slots of the placed replicas in the table that they were placed on."""
        return np.concatenate([segment.picks.slots for segment in self._segments])

    def placement(self, i: int) -> Placement:
        """Why replica i is where it is. Raises IndexError for one that has no node."""
        if not 0 <= i < self.placed:
            raise IndexError(f"replica {i} of {self.request.service} has no node: {self.placed} were placed")
        at = bisect_right(self._starts, i) - 1
        segment = self._segments[at]
        k = i - self._starts[at]
        runner_up, runner_up_score = segment.runner_up(k)
        return Placement(
            score=float(segment.picks.scores[k]),
            terms=segment.terms(k),
            nodes=len(self._names),
            feasible=self.feasible,
            rejected=self.rejected,
            runner_up=self._names[runner_up] if runner_up >= 0 else None,
            runner_up_score=runner_up_score if runner_up >= 0 else None,
        )

    def summary(self) -> str:
        """One sentence: how many were placed, or why the others were not."""
        count = self.request.count
        if self.placed == count:
            nodes = len(set(self.nodes))
            return f"{count} {_plural('replica', count)} placed on {nodes} {_plural('node', nodes)}"
        start = "no node fits" if not self.placed else f"{count - self.placed} of {count} replicas found no node"
        if not self._names:
            return f"{start}: no node has joined"
        return f"{start}: " + "; ".join(sentence_of(one, len(self._names), self._names) for one in self.rejections)


class Share:
    """One request's part of a group that several requests for one replica each were placed as.

    As a GroupPlacement of one replica; its ``feasible`` and ``rejected`` are as the group found them.
    """

    __slots__ = ("_group", "_k", "nodes", "placed", "request")

    def __init__(self, request: PlacementRequest, group: GroupPlacement, k: int) -> None:
        self.request = request
        self.placed = 1
        self.nodes: Sequence[str | None] = (group.nodes[k],)
        self._group = group
        self._k = k

    @property
    def feasible(self) -> int:
        """Nodes that could take a replica."""
        return self._group.feasible

    @property
    def rejected(self) -> Mapping[str, int]:
        """Nodes that could not, by category."""
        return self._group.rejected

    def placement(self, i: int) -> Placement:
        """Why the replica is where it is. Raises IndexError for any but replica 0."""
        if i != 0:
            raise IndexError(f"replica {i} of {self.request.service} has no node: 1 was placed")
        return self._group.placement(self._k)

    def summary(self) -> str:
        """One sentence."""
        return "1 replica placed on 1 node"


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"
