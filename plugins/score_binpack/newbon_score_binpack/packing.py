"""Fill one node before the next: the score is how full the node would be, as a weighted mean of cpu and memory.

Off unless the site gives it a weight, for the default is to spread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from newbon_core.hooks import FloatArray, IntArray, NodeTable, PlacementRequest, Scores, hookimpl

DEFAULT_WEIGHT = 0.0


class OptionsSchema(Schema):
    """How much each resource counts; only their proportion matters."""

    cpu = fields.Float(
        load_default=1.0, validate=validate.Range(0, 1000), metadata={"description": "how much reserved cpu counts"}
    )
    memory = fields.Float(
        load_default=1.0, validate=validate.Range(0, 1000), metadata={"description": "how much reserved memory counts"}
    )

    @validates_schema
    def _something_counts(self, data: dict[str, Any], **_: object) -> None:
        if data["cpu"] + data["memory"] == 0:
            raise ValidationError("cpu and memory cannot both be 0: nothing would count", "cpu")


@dataclass(slots=True)
class _Settings:
    cpu: float = 0.5
    memory: float = 0.5


_settings = _Settings()


@hookimpl
def newbon_configure(options: dict[str, Any]) -> None:
    """Take the proportions from the site's file."""
    total = options["cpu"] + options["memory"]
    _settings.cpu = options["cpu"] / total
    _settings.memory = options["memory"] / total


@hookimpl
def newbon_score_nodes(request: PlacementRequest, nodes: NodeTable) -> Scores:
    """The part of each node that would be reserved, 0 to 1, with one more replica on it."""
    resources = request.container.resources
    values = np.zeros(len(nodes))
    if _settings.cpu:
        values += _settings.cpu * _filled(nodes.cpu_free, nodes.cpu_total, resources.cpu_millis)
    if _settings.memory:
        values += _settings.memory * _filled(nodes.memory_free, nodes.memory_total, resources.memory_bytes)
    return Scores(values, bounds=(0.0, 1.0))


def _filled(free: IntArray, total: IntArray, more: int) -> FloatArray:
    """Reserved part of a resource; 1 where the node has none of it."""
    left: FloatArray = (free - more) / np.maximum(total, 1)
    return 1.0 - left
