"""Paces and bounds of the controllers."""

from __future__ import annotations

from dataclasses import dataclass

from newbon_core.config import NodeSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlSettings:
    """Times in seconds.

    A node not heard for ``lost_after_s`` is lost. Where more than ``pace_above`` (a share) of the nodes of one zone
    (label ``zone_label``; nodes without it form one zone) are silent together, ``pace_per_s`` of their instances are
    replaced per second, for it is likelier the network than the hosts. Zones of fewer than ``pace_min_nodes`` nodes are
    not paced: there a share says nothing.
    Of finished instances the newest ``keep_finished`` of each service stay, for ``keep_finished_s``; of a service's
    past revisions the newest ``keep_revisions``; of events the newest ``keep_events``, for ``keep_events_s``.
    Waiting instances are tried again when something changed that could help, but at most every ``retry_pace_s``; the
    reason why they wait is written anew at most every ``explain_pace_s``.
    """

    heartbeat_s: float = 2.0
    lost_after_s: float = 10.0
    zone_label: str = "zone"
    pace_above: float = 0.5
    pace_per_s: float = 10.0
    pace_min_nodes: int = 3
    keep_finished: int = 5
    keep_finished_s: float = 3600.0
    keep_revisions: int = 10
    keep_events: int = 10_000
    keep_events_s: float = 86_400.0
    events_sweep_s: float = 60.0
    retry_pace_s: float = 0.25
    explain_pace_s: float = 5.0
    store_retry_s: float = 0.5

    @classmethod
    def of(cls, nodes: NodeSettings) -> ControlSettings:
        """What the site's file says, and the defaults for all else."""
        return cls(
            heartbeat_s=nodes.heartbeat_s,
            lost_after_s=nodes.lost_after_s,
            zone_label=nodes.zone_label,
            pace_above=nodes.pace_above,
            pace_per_s=nodes.pace_per_s,
            pace_min_nodes=nodes.pace_min_nodes,
        )
