"""How fast what is bound to lost nodes is given up: at once, or paced where most of a zone fell silent together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from newbon_core.controllers.settings import ControlSettings
from newbon_core.model import Node, NodeState, NodeStatus, labels_of

REMOVED = "\0removed"
"""Stands for the zone of nodes that were deleted."""


def zone_of(node: Node, status: NodeStatus | None, label: str) -> str:
    """The node's zone; nodes without the label form one zone."""
    return labels_of(node, status).get(label, "")


@dataclass(slots=True)
class Pace:
    """How many replacements a zone may begin: one second's worth (one at least) at once, then ``per_s``."""

    per_s: float
    tokens: float
    at: float

    def take(self, wanted: int, now: float) -> int:
        """As many of ``wanted`` as may begin now."""
        self.tokens = min(max(1.0, self.per_s), self.tokens + max(0.0, now - self.at) * self.per_s)
        self.at = now
        granted = min(wanted, int(self.tokens))
        self.tokens -= granted
        return granted


def is_paced(silent: int, total: int, settings: ControlSettings) -> bool:
    """True where so many nodes of a zone fell silent together that their instances are to be replaced slowly."""
    return total >= settings.pace_min_nodes and silent > settings.pace_above * total


def is_silent(node: Node, heard_at: float | None, base: float, now: float, settings: ControlSettings) -> bool:
    """True for a node that is lost, or has missed so much that it may be about to be."""
    if node.state is NodeState.LOST:
        return True
    overdue = max(settings.lost_after_s / 2, 2 * settings.heartbeat_s)
    return now - max(heard_at if heard_at is not None else base, base) >= min(overdue, settings.lost_after_s)


def plan_losses(
    by_zone: Mapping[str, Iterable[tuple[str, list[str]]]],
    paced: Mapping[str, Pace],
    now: float,
) -> dict[str, list[str]]:
    """Which instances of which lost node are given up now.

    ``by_zone`` has for every zone its lost nodes with the instances still bound to them; ``paced`` the pace of each
    zone that has one.
    """
    given_up: dict[str, list[str]] = {}
    for zone, nodes in by_zone.items():
        pace = paced.get(zone)
        for node, instances in nodes:
            granted = len(instances) if pace is None else pace.take(len(instances), now)
            if granted:
                given_up[node] = instances[:granted]
    return given_up
