"""What becomes of an instance that gets a node."""

from __future__ import annotations

from dataclasses import fields, replace

from newbon_core.controllers.placing import on_node
from newbon_core.model import Instance, Placement


def test_an_instance_keeps_everything_when_it_gets_a_node_but_why_it_waited() -> None:
    texts = {field.name: f"some {field.name}" for field in fields(Instance)}
    waiting = Instance(**texts | {"node": None, "placement": None})  # type: ignore[arg-type]
    why = Placement(score=1.0)
    expected = replace(waiting, node="n1", placed_at=5.0, placement=why, waiting=None)
    assert on_node(waiting, "n1", why, 5.0) == expected
