"""The whole story of a placement, node by node, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from newbon_core.hooks.types import FloatArray, PlacementRequest
from newbon_core.scheduler.group import GroupPlacement
from newbon_core.scheduler.layers import Layers, Scale
from newbon_core.scheduler.nodes import NodeColumns
from newbon_core.scheduler.rejections import advice_of


@dataclass(frozen=True, slots=True)
class FilterExplanation:
    """One filter's word on one node; ``reason`` is "" where it passed."""

    plugin: str
    passed: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ScoreExplanation:
    """One score's word on one node: ``raw`` as the plugin gave it, ``normalised`` on the common scale, times
    ``weight``.
    """

    plugin: str
    raw: float
    normalised: float
    weight: float
    weighted: float


@dataclass(frozen=True, slots=True)
class NodeExplanation:
    """One node: whether all filters passed it, what each said, and its score; ``chosen`` counts the replicas it would
    get.
    """

    name: str
    passed: bool
    filters: tuple[FilterExplanation, ...]
    scores: tuple[ScoreExplanation, ...]
    total: float | None
    chosen: int

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why filters rejected it, every one of them."""
        return tuple(one.reason for one in self.filters if not one.passed)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Nodes in the order of names; ``advice`` says what would have to change, the nearest miss first, where replicas
    are left over. ``notes`` tell of scores that were left out because they failed, so that nobody wonders.
    """

    service: str
    count: int
    placed: int
    summary: str
    rejected: Mapping[str, int]
    nodes: tuple[NodeExplanation, ...]
    advice: tuple[str, ...]
    notes: tuple[str, ...] = ()


def explained(
    request: PlacementRequest,
    layers: Layers,
    nodes: NodeColumns,
    group: GroupPlacement,
    left_out: Callable[[], Sequence[str]],
) -> Explanation:
    """Explain a decision by the state that it was made from. ``left_out`` is asked after the scores were."""
    chosen = Counter(name for name in group.nodes if name is not None)
    scores = _scores(layers) if len(nodes) else []
    told = []
    for slot in np.arange(len(nodes)) if nodes.order is None else nodes.order:
        index = int(slot)
        filters = tuple(
            FilterExplanation(answer.plugin, True)
            if answer.verdict.passed[index]
            else FilterExplanation(answer.plugin, False, answer.verdict.reason(index))
            for answer in layers[0].answers
        )
        passed = bool(layers[0].passed[index])
        by_plugin = tuple(_score(scale, raw, index) for scale, raw in scores) if passed else ()
        total = sum(one.weighted for one in by_plugin) if passed else None
        name = nodes.names[index]
        told.append(NodeExplanation(name, passed, filters, by_plugin, total, chosen[name]))
    advice: tuple[str, ...] = ()
    if group.placed < request.count:
        nearest_first = sorted(group.rejections, key=lambda one: (one.gap, -one.nodes, one.category))
        advice = tuple(dict.fromkeys(advice_of(one, nodes.names) for one in nearest_first)) or ("add a node",)
    return Explanation(
        request.service,
        request.count,
        group.placed,
        group.summary(),
        group.rejected,
        tuple(told),
        advice,
        tuple(left_out()),
    )


def _scores(layers: Layers) -> list[tuple[Scale, FloatArray]]:
    """Every score's scale and raw values less its domain terms; those of weight 0 are told too."""
    scales = {scale.plugin: scale for scale in layers.scales}
    told = []
    for answer in layers.raw():
        raw = answer.scores.values
        for term in answer.scores.domains:
            raw = raw - term.weight * term.counts[term.codes]
        told.append((scales.get(answer.plugin) or layers.scale(answer), raw))
    return told


def _score(scale: Scale, raw: FloatArray, index: int) -> ScoreExplanation:
    value = float(raw[index])
    normalised = (value - scale.worst) * scale.factor
    return ScoreExplanation(scale.plugin, value, normalised, scale.weight, normalised * scale.weight)
