"""One container of a service, as it is wanted (Instance) and as its agent saw it (InstanceStatus).

An instance lives once: when it has finished it is replaced by another with a uid of its own, never started again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

Wanted = Literal["running", "stopped", "lost"]
"""``lost``: its node was declared lost; if the node comes back, the agent is told to remove the container."""


class InstanceState(StrEnum):
    """Where an instance is in its life; one way only, from top to bottom."""

    PENDING = "pending"
    ASSIGNED = "assigned"
    PULLING = "pulling"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    LOST = "lost"


FINISHED = frozenset({InstanceState.STOPPED, InstanceState.FAILED, InstanceState.LOST})
"""States from which no instance comes back."""

STATE_ORDER: Mapping[InstanceState, int] = {state: position for position, state in enumerate(InstanceState)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Why an instance is on its node, small enough to be kept with each one.

    ``score`` is the weighted sum and ``terms`` its parts by plugin; of ``nodes`` nodes, ``feasible`` passed all
    filters and ``rejected`` counts the others by reason. ``runner_up`` is the best other node and its score.
    """

    score: float
    terms: Mapping[str, float] = field(default_factory=dict)
    nodes: int = 0
    feasible: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    runner_up: str | None = None
    runner_up_score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """An instance as the control plane wants it.

    ``name`` is ``<service>-<number>`` and a DNS label; ``uid`` is unique for ever. ``waiting`` says why it has no
    node; ``failures`` counts the failures in a row that led to it (restart backoff); ``not_before`` is the time until
    which it must not be placed; ``reason`` says why ``wanted`` is what it is.
    """

    name: str
    uid: str
    service: str
    number: int
    revision: int
    wanted: Wanted = "running"
    node: str | None = None
    created_at: float = 0.0
    placed_at: float | None = None
    not_before: float = 0.0
    failures: int = 0
    placement: Placement | None = None
    waiting: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceStatus:
    """An instance as its agent saw it last. Times are seconds since the epoch by the agent's clock."""

    name: str
    uid: str
    node: str
    state: InstanceState
    message: str = ""
    container_id: str | None = None
    image_id: str | None = None
    address: str | None = None
    host_ports: Mapping[str, int] = field(default_factory=dict)
    started_at: float | None = None
    finished_at: float | None = None
    exit_code: int | None = None
    oom_killed: bool = False


def state_of(instance: Instance, status: InstanceStatus | None) -> InstanceState:
    """The one state that users see, from what is wanted and what was seen.

    A status of another uid (an earlier instance of that name) is ignored.
    """
    if status is not None and status.uid != instance.uid:
        status = None
    if status is not None and status.state in FINISHED:
        return status.state
    if instance.wanted == "lost":
        return InstanceState.LOST
    if instance.node is None:
        return InstanceState.STOPPED if instance.wanted == "stopped" else InstanceState.PENDING
    if instance.wanted == "stopped":
        return InstanceState.STOPPING
    return status.state if status is not None else InstanceState.ASSIGNED
