"""What the core itself asks of a node before any plugin: ready, not cordoned, and it has the runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from newbon_core.hooks.types import BoolArray, PlacementRequest, Rejection, Verdict
from newbon_core.model import NodeState
from newbon_core.scheduler.claims import NodeFacts
from newbon_core.scheduler.nodes import NodeColumns

CORE = "newbon"


@dataclass(frozen=True, slots=True)
class CoreAnswer:
    """The core's own answer, told in the same way as a filter's."""

    verdict: Verdict
    plugin: str = CORE


class CoreFilter:
    """Which nodes take new instances at all and have the runtime that the service names."""

    def __init__(self, nodes: NodeColumns) -> None:
        self._nodes = nodes
        self._layout = -1
        self._summaries: dict[str, list[Rejection]] = {}

    def answer(self, request: PlacementRequest) -> CoreAnswer:
        """The core's verdict on all nodes."""
        nodes, runtime = self._nodes, request.container.runtime
        return CoreAnswer(
            Verdict(
                nodes.candidates(runtime),
                lambda index: _reason(nodes.facts[index], runtime),
                summarise=lambda mask: self._summarise(mask, runtime),
            )
        )

    def _summarise(self, mask: BoolArray, runtime: str) -> Sequence[Rejection]:
        """Kept until a node changes: the core is asked first, so ``mask`` always is all that it rejects."""
        if self._layout != self._nodes.layout:
            self._layout = self._nodes.layout
            self._summaries = {}
        known = self._summaries.get(runtime)
        if known is None:
            slots = np.flatnonzero(mask).tolist()
            facts = [self._nodes.facts[slot] for slot in slots]
            known = self._summaries[runtime] = _summarised(facts, slots, runtime)
        return known


def _category(facts: NodeFacts) -> str:
    if not facts.registered:
        return "not registered"
    if facts.state is not NodeState.READY:
        return str(facts.state)
    return "cordoned" if facts.cordoned else "runtime"


def _detail(facts: NodeFacts, runtime: str) -> str:
    match _category(facts):
        case "not registered":
            return "no agent has told of this node yet"
        case "cordoned":
            return "the node takes no new instances"
        case "runtime":
            have = ", ".join(sorted(facts.runtimes))
            return f"needs {runtime}, the node has {have or 'none'}"
        case _:
            return facts.state_reason or "the node is not ready"


def _reason(facts: NodeFacts, runtime: str) -> str:
    return f"{_category(facts)}: {_detail(facts, runtime)}"


def _advice(facts: NodeFacts, runtime: str) -> str:
    match _category(facts):
        case "not registered":
            return f"start the agent on {facts.name}"
        case "cordoned":
            return f"uncordon {facts.name}"
        case "runtime":
            return f"give {facts.name} the runtime {runtime}"
        case _:
            return f"bring {facts.name} back"


def _summarised(nodes: Sequence[NodeFacts], slots: Sequence[int], runtime: str) -> list[Rejection]:
    counts: dict[str, int] = {}
    first: dict[str, int] = {}
    for place, facts in enumerate(nodes):
        category = _category(facts)
        counts[category] = counts.get(category, 0) + 1
        if category not in first or facts.name < nodes[first[category]].name:
            first[category] = place
    return [
        Rejection(
            category=category,
            nodes=count,
            sentence=_detail(nodes[first[category]], runtime) if category == "runtime" else "",
            nearest=slots[first[category]],
            gap=1.0,
            advice=_advice(nodes[first[category]], runtime),
        )
        for category, count in counts.items()
    ]
