"""Fill one node before the next: the score is how full the node would be, as a weighted mean of cpu and memory.

Off unless the site gives it a weight, for the default is to spread.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from newbon_core.hooks import FloatArray, IntArray, NodeTable, PlacementRequest, Scores, hookimpl, nameless


class Binpack:
    """The plugin; an instance holds the proportions that its site wants."""

    DEFAULT_WEIGHT = 0.0

    class OptionsSchema(Schema):
        """How much each resource counts; only their proportion matters."""

        cpu = fields.Float(
            load_default=1.0, validate=validate.Range(0, 1000), metadata={"description": "how much reserved cpu counts"}
        )
        memory = fields.Float(
            load_default=1.0,
            validate=validate.Range(0, 1000),
            metadata={"description": "how much reserved memory counts"},
        )

        @validates_schema
        def _something_counts(self, data: dict[str, Any], **_: object) -> None:
            if data["cpu"] + data["memory"] == 0:
                raise ValidationError("cpu and memory cannot both be 0: nothing would count", "cpu")

    def __init__(self) -> None:
        self._cpu = self._memory = 0.5

    @hookimpl
    def newbon_configure(self, options: dict[str, Any]) -> None:
        """Take the proportions from the site's file."""
        total = options["cpu"] + options["memory"]
        self._cpu = options["cpu"] / total
        self._memory = options["memory"] / total

    @hookimpl
    @nameless
    def newbon_score_nodes(self, request: PlacementRequest, nodes: NodeTable) -> Scores:
        """The part of each node that would be reserved, 0 to 1, with one more replica on it."""
        resources = request.container.resources
        values = np.zeros(len(nodes))
        if self._cpu:
            values += self._cpu * _filled(nodes.cpu_free, nodes.cpu_total, resources.cpu_millis)
        if self._memory:
            values += self._memory * _filled(nodes.memory_free, nodes.memory_total, resources.memory_bytes)
        # More than 1 is a node on which the replica does not fit, or one that is overfull already.
        return Scores(values, bounds=(0.0, 1.0), beyond=True)


def _filled(free: IntArray, total: IntArray, more: int) -> FloatArray:
    """Reserved part of a resource; 1 where the node has none of it."""
    left: FloatArray = (free - more) / np.maximum(total, 1)
    return 1.0 - left
