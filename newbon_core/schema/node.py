"""The ``kind: Node`` document: what an operator sets on a node that has registered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marshmallow import ValidationError

from newbon_core.model import Taint
from newbon_core.schema import grammar
from newbon_core.schema.fields import Flag, Items, Pairs, Part, Strict, Word, meta, twice


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePatch:
    """What a Node document sets. None leaves as it is; labels and taints that are given replace all there are."""

    name: str
    labels: Mapping[str, str] | None = None
    taints: tuple[Taint, ...] | None = None
    cordoned: bool | None = None


class NodeTaintSchema(Strict):
    """Keeps away every service that does not tolerate it."""

    key = Word(
        grammar.check_label_key,
        "the taint's key",
        required=True,
        metadata=meta("The taint's key.", example="dedicated"),
    )
    value = Word(grammar.check_label_value, "the taint's value", metadata=meta("The taint's value.", "", "batch"))

    def make(self, data: dict[str, Any]) -> Taint:
        return Taint(**data)


class NodeSchema(Strict):
    """A node of the fleet. It exists because its agent registered; fields not given stay as they are."""

    kind = Word(
        grammar.one_of(("Node",)),
        "Node",
        required=True,
        metadata=meta("The kind of document.", example="Node", enum=["Node"]),
    )
    name = Word(
        grammar.check_node_name,
        "the node's name",
        required=True,
        metadata=meta("The name it registered with.", example="n1"),
    )
    labels = Pairs(
        grammar.check_label_key,
        grammar.check_label_value,
        "a mapping of labels",
        metadata=meta("The operator's labels, over those its agent tells of.", example={"disk": "ssd", "zone": "a"}),
    )
    taints = Items(
        Part(NodeTaintSchema),
        "a list of taints",
        most=100,
        metadata=meta("Keep away services that do not tolerate them."),
    )
    cordoned = Flag(metadata=meta("It takes no new instances.", example=True))

    def check(self, data: dict[str, Any]) -> None:
        errors: dict[str, Any] = {}
        if "node" in data.get("labels", {}):
            errors["labels"] = {"node": ["is always the node's own name and cannot be set"]}
        again = twice(data.get("taints", ()), lambda taint: (taint.key, taint.value), None, "is the same key and value")
        if again:
            errors["taints"] = again
        if errors:
            raise ValidationError(errors)

    def make(self, data: dict[str, Any]) -> NodePatch:
        data.pop("kind", None)
        return NodePatch(**data)
