"""The fields of a service document that this filter enforces, and what may stand in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from newbon_core.hooks import FieldProblem, ServiceField, hookimpl
from newbon_core.model import Affinity, Toleration
from newbon_filter_constraints.expressions import problems


@hookimpl
def newbon_service_fields() -> Iterable[ServiceField]:
    """Constraints, tolerations, affinity and the limit per node."""
    return [
        ServiceField(path="schedule.constraints", validate=_constraints),
        ServiceField(path="schedule.tolerations", validate=_tolerations),
        ServiceField(path="schedule.affinity", validate=_affinity),
        ServiceField(path="schedule.max_per_node", validate=_max_per_node),
    ]


def _constraints(value: object) -> Sequence[FieldProblem]:
    texts = [text if isinstance(text, str) else "" for text in _items(value)]
    return [FieldProblem(f"[{index}]", message) for index, message in problems(texts)]


def _tolerations(value: object) -> Sequence[FieldProblem]:
    return [
        FieldProblem(f"[{index}].key", "expected the key of a taint")
        for index, one in enumerate(_items(value))
        if isinstance(one, Toleration) and not one.key
    ]


def _affinity(value: object) -> Sequence[FieldProblem]:
    found = []
    seen: dict[tuple[str, str], bool] = {}
    for index, one in enumerate(_items(value)):
        if not isinstance(one, Affinity):
            continue
        if not one.topology:
            found.append(FieldProblem(f"[{index}].topology", "expected a label key, such as zone or node"))
        if seen.setdefault((one.service, one.topology), one.anti) != one.anti:
            message = f"is at odds with an earlier one: be and do not be where {one.service} is, by {one.topology}"
            found.append(FieldProblem(f"[{index}]", message))
    return found


def _max_per_node(value: object) -> Sequence[FieldProblem]:
    if isinstance(value, int) and value < 0:
        return [FieldProblem("", "expected a number of instances, or 0 for no limit")]
    return ()


def _items(value: object) -> Sequence[object]:
    return value if isinstance(value, (tuple, list)) else ()
