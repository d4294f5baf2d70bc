"""Why nodes turned a request down, by category: one pass over the verdicts, cheap enough for every placement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from newbon_core.hooks.types import BoolArray, IntArray, Rejection
from newbon_core.scheduler.asking import FilterAnswer
from newbon_core.scheduler.layers import Layer, Layers

CATEGORIES = 16
"""So many categories are told apart at most."""
OTHER = "other reasons"


def rejections(layers: Layers, taken: IntArray, ask_at_most: int) -> tuple[Rejection, ...]:
    """One Rejection per category, most nodes first; each node counts for the first filter that rejects it.

    ``taken[i]`` replicas are assumed on node i. A filter without ``summarise`` is asked for the reasons of at most
    ``ask_at_most`` nodes; what it rejects beyond them is counted under the plugin's name.
    """
    found: dict[str, Rejection] = {}
    for j in np.flatnonzero(np.bincount(taken)).tolist():
        layer = layers[j]
        for rejection in _of_layer(layer, (taken == j) & ~layer.passed, ask_at_most):
            known = found.get(rejection.category)
            found[rejection.category] = rejection if known is None else _merged(known, rejection)
    return _bounded(sorted(found.values(), key=lambda one: (-one.nodes, one.category)))


def _bounded(found: list[Rejection]) -> tuple[Rejection, ...]:
    """The categories with most nodes; a filter may give every node one of its own, and each placement keeps these."""
    if len(found) <= CATEGORIES:
        return tuple(found)
    rest = sum(one.nodes for one in found[CATEGORIES - 1 :])
    other = Rejection(category=OTHER, nodes=rest, gap=float("inf"), advice="see the nodes one by one for other reasons")
    return (*found[: CATEGORIES - 1], other)


def _of_layer(layer: Layer, rejected: BoolArray, ask_at_most: int) -> list[Rejection]:
    found: list[Rejection] = []
    for answer in layer.answers:
        if not rejected.any():
            break
        passed = answer.verdict.passed
        mine = rejected & ~passed
        if mine.any():
            rejected = rejected & passed
            found += _of_filter(answer, mine, ask_at_most)
    return found


def _of_filter(answer: FilterAnswer, mine: BoolArray, ask_at_most: int) -> Sequence[Rejection]:
    if answer.verdict.summarise is not None:
        return answer.verdict.summarise(mine)
    slots = np.flatnonzero(mine).tolist()
    found: dict[str, Rejection] = {}
    for slot in slots[:ask_at_most]:
        category, sentence = split_reason(answer.verdict.reason(slot))
        known = found.get(category)
        if known is None:
            found[category] = Rejection(category=category, nodes=1, sentence=sentence, nearest=slot, gap=1.0)
        else:
            found[category] = replace(known, nodes=known.nodes + 1)
    if len(slots) > ask_at_most:
        found[answer.plugin] = Rejection(category=answer.plugin, nodes=len(slots) - ask_at_most)
    return tuple(found.values())


def _merged(one: Rejection, other: Rejection) -> Rejection:
    nearer = one if one.gap <= other.gap else other
    return replace(nearer, nodes=one.nodes + other.nodes)


def split_reason(reason: str) -> tuple[str, str]:
    """Category and sentence of a reason: the text before and after its first colon."""
    category, colon, sentence = reason.partition(":")
    return (category.strip(), sentence.strip()) if colon else (reason.strip(), "")


def sentence_of(rejection: Rejection, nodes: int, names: Sequence[str]) -> str:
    """``3 of 5 memory: needs 512 MiB, at most 300 MiB free (n3)``."""
    counted = f"{rejection.nodes} of {nodes} {rejection.category}"
    if not rejection.sentence:
        return counted
    where = f" ({names[rejection.nearest]})" if rejection.nearest >= 0 else ""
    return f"{counted}: {rejection.sentence}{where}"


def advice_of(rejection: Rejection, names: Sequence[str]) -> str:
    """What would have to change, as a sentence for a person."""
    if rejection.advice:
        return rejection.advice
    if rejection.sentence and rejection.nearest >= 0:
        return f"make {names[rejection.nearest]} fit: {rejection.category}: {rejection.sentence}"
    return f"make a node fit that is rejected for {rejection.category}"
