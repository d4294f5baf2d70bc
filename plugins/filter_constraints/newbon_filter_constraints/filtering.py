"""Which nodes a service may be on: constraints, taints, the limit per node, affinity. Each is a Rule over all nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from newbon_core.hooks import BoolArray, NodeTable, PlacementRequest, Rejection, Verdict, hookimpl, nameless
from newbon_core.model import Affinity, Taint, Toleration
from newbon_filter_constraints.expressions import Constraint, ConstraintError, parse

NODE = "node"


@dataclass(frozen=True, slots=True)
class Rule:
    """One demand. ``detail(i)`` tells what node i has instead, ``advice(i)`` what would help, i being such a node."""

    category: str
    passed: BoolArray
    detail: Callable[[int], str]
    advice: Callable[[int], str]
    stepwise: bool = False


@hookimpl
@nameless
def newbon_filter_nodes(request: PlacementRequest, nodes: NodeTable) -> Verdict | None:
    """Reject nodes where the request must not be."""
    rules = list(_rules(request, nodes))
    if not rules:
        return None
    passed = rules[0].passed
    for rule in rules[1:]:
        passed = passed & rule.passed
    return Verdict(
        passed,
        lambda index: _reason(rules, index),
        stepwise=any(rule.stepwise for rule in rules),
        summarise=lambda mask: _summarise(rules, mask),
    )


def _rules(request: PlacementRequest, nodes: NodeTable) -> list[Rule]:
    schedule = request.schedule
    rules = [_constraint_rule(text, request, nodes) for text in schedule.constraints]
    if any(nodes.taint_sets):
        rules.append(_taint_rule(schedule.tolerations, nodes))
    if schedule.max_per_node:
        rules.append(_limit_rule(request, nodes))
    rules += [_affinity_rule(affinity, request, nodes) for affinity in schedule.affinity]
    return rules


def _reason(rules: Sequence[Rule], index: int) -> str:
    rule = next(rule for rule in rules if not rule.passed[index])
    return f"{rule.category}: {rule.detail(index)}"


def _summarise(rules: Sequence[Rule], mask: BoolArray) -> list[Rejection]:
    found = []
    for rule in rules:
        mine = mask & ~rule.passed
        if mine.any():
            mask = mask & rule.passed
            nearest = int(mine.argmax())
            found.append(
                Rejection(
                    category=rule.category,
                    nodes=int(np.count_nonzero(mine)),
                    sentence=rule.detail(nearest),
                    nearest=nearest,
                    gap=1.0,
                    advice=rule.advice(nearest),
                )
            )
    return found


# --- constraints ---


def _constraint_rule(text: str, request: PlacementRequest, nodes: NodeTable) -> Rule:
    try:
        constraint = parse(text)
    except ConstraintError as error:
        message = str(error)
        none = np.zeros(len(nodes), dtype=np.bool_)
        return Rule(f"constraint {text}", none, lambda _: message, lambda _: f"correct {text!r}: {message}")
    key = constraint.label(request.container.runtime)
    column = nodes.label(key)

    def detail(index: int) -> str:
        code = int(column.codes[index])
        return f"the node has no {key}" if code < 0 else f"{key} is {column.values[code]}"

    return Rule(
        f"constraint {constraint.text}",
        constraint.passed(column),
        detail,
        lambda _: _constraint_advice(constraint, key),
    )


def _constraint_advice(constraint: Constraint, key: str) -> str:
    if constraint.wanted is not None and not constraint.absent and constraint.text.startswith("node.labels."):
        return f"label a node {key}={constraint.wanted}"
    return f"add a node, or label one, so that {constraint.text}"


# --- taints ---


def _taint_rule(tolerations: Sequence[Toleration], nodes: NodeTable) -> Rule:
    sets = nodes.taint_sets
    codes = nodes.taint_codes
    tolerated = np.array([not _refusing(taints, tolerations) for taints in sets], dtype=np.bool_)

    def refusing(index: int) -> str:
        return ", ".join(_written(taint) for taint in _refusing(sets[int(codes[index])], tolerations))

    return Rule(
        "taint",
        tolerated[codes],
        lambda index: f"{refusing(index)} is not tolerated",
        lambda index: f"tolerate {refusing(index)}, or take the taint from {nodes.names[index]}",
    )


def _refusing(taints: Sequence[Taint], tolerations: Sequence[Toleration]) -> list[Taint]:
    return [
        taint
        for taint in taints
        if not any(one.key == taint.key and one.value in (None, taint.value) for one in tolerations)
    ]


def _written(taint: Taint) -> str:
    return f"{taint.key}={taint.value}" if taint.value else taint.key


# --- the limit per node ---


def _limit_rule(request: PlacementRequest, nodes: NodeTable) -> Rule:
    limit = request.schedule.max_per_node
    counts = nodes.count_of(request.service)
    return Rule(
        "max per node",
        counts < limit,
        lambda index: f"{counts[index]} of at most {limit} are there",
        lambda _: f"raise schedule.max_per_node above {limit}, or add a node",
    )


# --- affinity ---


def _affinity_rule(affinity: Affinity, request: PlacementRequest, nodes: NodeTable) -> Rule:
    """Presence in a node's domain. A node without the topology's label is in no domain: there no service is.

    Affinity of a service to itself lets its first instance go anywhere, and then draws the others there.
    """
    own = affinity.service == request.service
    counts = nodes.count_of(affinity.service)
    present, labelled = _presence(affinity.topology, counts > 0, nodes)
    group = own and nodes.added == 0 and request.count > 1
    name, topology = affinity.service, affinity.topology
    where = "on the node" if topology == NODE else f"in the node's {topology}"
    if affinity.anti:
        return Rule(
            "anti-affinity",
            ~present,
            lambda _: f"{name} is {where}",
            lambda _: f"add a {topology} where {name} is not",
            # Within a node only that node's own answer changes.
            stepwise=group and topology != NODE,
        )
    first = own and not counts.any()
    return Rule(
        "affinity",
        labelled if first else present,
        lambda index: f"{name} is not {where}" if labelled[index] else f"the node has no {topology}",
        lambda _: f"start {name}, or make room where it is" if labelled.any() else f"give nodes the label {topology}",
        stepwise=first and group,
    )


def _presence(topology: str, here: BoolArray, nodes: NodeTable) -> tuple[BoolArray, BoolArray]:
    """For each node whether ``here`` holds anywhere in its domain, and whether it is in a domain at all."""
    if topology == NODE:
        return here, np.ones(len(nodes), dtype=np.bool_)
    column = nodes.label(topology)
    labelled = column.present
    domains = np.zeros(len(column.values) + 1, dtype=np.bool_)
    domains[column.codes[here & labelled]] = True
    return domains[column.codes] & labelled, labelled
