"""Filters and scores asked layer by layer: layer j is the cluster with j more replicas of the group on every node.

Because a node's own answers depend on its own state only, layer j tells what node i says once it has taken j
replicas, and so the layers hold every node's whole sequence of scores ``s_0[i], s_1[i], …``; it ends at the first
layer whose filters reject the node.

Each score is normalised by one affine scale, the same for the whole group: from its declared bounds (of layer 0),
else from the range seen over the feasible nodes in layer 0 and, for more than one replica, in layer ``min(count,
ceil(count / feasible))``, where an even spread would end. Scores are then multiplied by the site's weights and added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from newbon_core.hooks.types import BoolArray, DomainTerm, FloatArray, PlacementRequest, Scores
from newbon_core.scheduler.asking import FilterAnswer, PlacementHost, ScoreAnswer
from newbon_core.scheduler.claims import Claim
from newbon_core.scheduler.core_filter import CoreFilter
from newbon_core.scheduler.table import Table
from newbon_core.scheduler.view import TableView


@dataclass(frozen=True, slots=True)
class Scale:
    """``normalised = (raw - worst) * factor``, which is 0 at worst and 1 at best; ``weight`` is the site's."""

    plugin: str
    weight: float
    worst: float
    factor: float


@dataclass(slots=True)
class Layer:
    """One layer: ``passed`` also by all layers below; ``parts`` are weighted scores by plugin; ``values`` their sum,
    -inf where rejected.
    """

    answers: Sequence[FilterAnswer]
    passed: BoolArray
    parts: tuple[FloatArray, ...] = ()
    values: FloatArray | None = None


class Layers:
    """The layers of one group, asked for as they are needed.

    ``apart``: each replica is of a service of its own, and the request is that of any one of them.
    """

    def __init__(
        self,
        host: PlacementHost,
        core: CoreFilter,
        table: Table,
        request: PlacementRequest,
        claim: Claim,
        *,
        apart: bool = False,
    ) -> None:
        self.request = request
        self.asked: set[str] = set()
        self._host = host
        self._table = table
        self._claim = claim
        self._apart = apart
        self._core = core.answer(request)
        self._layers: list[Layer] = []
        self._raw: dict[int, Sequence[ScoreAnswer]] = {}
        self._scales: tuple[Scale, ...] | None = None
        self._feasible: int | None = None

    def __getitem__(self, j: int) -> Layer:
        while len(self._layers) <= j:
            self._layers.append(self._ask(len(self._layers)))
        return self._layers[j]

    def _view(self, j: int) -> TableView:
        added, others = (0, j) if self._apart else (j, 0)
        view = TableView(self._table, self.request, self._claim, added, others)
        view.asked = self.asked
        return view

    def _ask(self, j: int) -> Layer:
        answers: list[FilterAnswer] = [self._core]
        passed = self._core.verdict.passed if j == 0 else self._layers[-1].passed
        if len(passed):
            answers += self._host.filter_nodes(self.request, self._view(j))
        for answer in answers:
            if answer is not self._core:
                passed = passed & answer.verdict.passed
        return Layer(answers, passed)

    @property
    def feasible(self) -> int:
        """How many nodes can take at least one replica."""
        if self._feasible is None:
            self._feasible = int(np.count_nonzero(self[0].passed))
        return self._feasible

    @property
    def stepwise(self) -> bool:
        """True when some plugin says that each replica may change the answer for other nodes."""
        return any(answer.verdict.stepwise for answer in self[0].answers) or any(
            answer.scores.stepwise for answer in self._scores(0)
        )

    @property
    def separable(self) -> bool:
        """True when a replica on one node changes nothing for other nodes, not even the scale of their scores."""
        return not self.stepwise and all(
            answer.scores.bounds is not None and not answer.scores.domains for answer in self._scores(0)
        )

    def _scores(self, j: int) -> Sequence[ScoreAnswer]:
        found = self._raw.get(j)
        if found is None:
            found = self._host.score_nodes(self.request, self._view(j))
            self._raw[j] = found
        return found

    # --- normalisation ---

    @property
    def scales(self) -> tuple[Scale, ...]:
        """One scale per score that has a say, in the order of the host."""
        if self._scales is None:
            self._scales = tuple(self.scale(answer) for answer in self._scores(0) if answer.weight != 0.0)
        return self._scales

    def scale(self, answer: ScoreAnswer) -> Scale:
        """The scale of one score for this group."""
        bounds = answer.scores.bounds
        worst, best = bounds if bounds is not None else self._seen(answer)
        factor = 1.0 / (best - worst) if best != worst else 1.0
        return Scale(answer.plugin, answer.weight, worst, factor)

    def _seen(self, answer: ScoreAnswer) -> tuple[float, float]:
        passed = self[0].passed
        feasible = self.feasible
        if feasible == 0:
            return (0.0, 1.0)
        seen = [_in_all(answer.scores)[passed]]
        count = self.request.count
        if count > 1:
            deep = self._answer_of(answer.plugin, min(count, -(-count // feasible)))
            if deep is not None:
                start = _in_all(Scores(deep.scores.values, None, answer.scores.domains))
                seen.append(start[passed])
        return (min(float(part.min()) for part in seen), max(float(part.max()) for part in seen))

    def _answer_of(self, plugin: str, j: int) -> ScoreAnswer | None:
        return next((answer for answer in self._scores(j) if answer.plugin == plugin), None)

    # --- values ---

    def scored(self, j: int) -> Layer:
        """The layer with its scores."""
        layer = self[j]
        if layer.values is None:
            layer.parts = tuple(self._part(scale, j) for scale in self.scales)
            total = layer.parts[0] if layer.parts else np.zeros(len(layer.passed))
            for part in layer.parts[1:]:
                total = total + part
            everywhere = j == 0 and self.feasible == len(layer.passed)
            layer.values = total if everywhere else np.where(layer.passed, total, -np.inf)
            if j > 0:
                self._raw.pop(j, None)
        return layer

    def values(self, j: int) -> FloatArray:
        """Weighted sum of the nodes' own scores, without their domain terms; -inf where rejected."""
        layer = self.scored(j)
        assert layer.values is not None
        return layer.values

    def _part(self, scale: Scale, j: int) -> FloatArray:
        answer = self._answer_of(scale.plugin, j)
        if answer is None:
            # A score that failed at a deeper layer only keeps the last word it had.
            return next(layer.parts[self.scales.index(scale)] for layer in reversed(self._layers[:j]) if layer.parts)
        part: FloatArray = answer.scores.values - scale.worst
        part *= scale.factor * scale.weight
        return part

    def domain_terms(self) -> list[tuple[int, DomainTerm]]:
        """The domain terms that matter: each with its score's place in ``scales``, its weight on the common scale."""
        answers = {answer.plugin: answer for answer in self._scores(0)}
        return [
            (place, DomainTerm(term.codes, term.counts, term.weight * scale.factor * scale.weight))
            for place, scale in enumerate(self.scales)
            for term in answers[scale.plugin].scores.domains
            if term.weight != 0.0
        ]

    def raw(self) -> Sequence[ScoreAnswer]:
        """What every score said in layer 0, also those of weight 0."""
        return self._scores(0)


def _in_all(scores: Scores) -> FloatArray:
    """Own values less the domain terms as they stand."""
    values = scores.values
    for term in scores.domains:
        values = values - term.weight * term.counts[term.codes]
    return values
