"""What is kept of the past, and when it is thrown away."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from newbon_core.controllers.roster import Roster
from newbon_core.controllers.settings import ControlSettings
from newbon_core.model import NodeState, Service
from newbon_core.state.cache import Cache

_SWEEP = 2_000
"""Event batches deleted in one go."""


@dataclass(slots=True)
class GarbagePlan:
    """Instances and numbers of revisions to delete now, and when to look again."""

    instances: list[str] = field(default_factory=list)
    revisions: list[int] = field(default_factory=list)
    wake_at: float | None = None


def plan_garbage(
    service: Service | None, roster: Roster, cache: Cache, now: float, settings: ControlSettings
) -> GarbagePlan:
    """What of a service may be forgotten.

    Of finished instances the newest few are kept for a while; without the service, none. An instance given up with its
    node goes the same way as long as the node is lost; when the node is back, its agent's word is awaited.
    """
    plan = GarbagePlan()
    gone = [*roster.finished, *(name for name in roster.lost if _out_of_reach(name, cache))]
    if service is None:
        plan.instances = [*gone, *roster.exited]
    elif gone:
        _plan_kept(gone, cache, now, settings, plan)
    _plan_revisions(service, roster, settings, plan)
    return plan


def _plan_kept(gone: list[str], cache: Cache, now: float, settings: ControlSettings, plan: GarbagePlan) -> None:
    ended = sorted(((_ended_at(name, cache, now), name) for name in gone), reverse=True)
    for position, (at, name) in enumerate(ended):
        until = at + settings.keep_finished_s
        if position >= settings.keep_finished or until <= now:
            plan.instances.append(name)
        elif plan.wake_at is None or until < plan.wake_at:
            plan.wake_at = until


def _plan_revisions(service: Service | None, roster: Roster, settings: ControlSettings, plan: GarbagePlan) -> None:
    keep = settings.keep_revisions if service is not None else 0
    if len(roster.past) <= keep:
        return
    used = {revision for group in roster.groups for revision in group.values()}
    numbers = sorted(roster.past)
    plan.revisions = [number for number in numbers[: len(numbers) - keep] if number not in used]


def _out_of_reach(name: str, cache: Cache) -> bool:
    stored = cache.instances.get(name)
    if stored is None or stored.value.node is None:
        return False
    node = cache.nodes.get(stored.value.node)
    return node is None or node.value.state is NodeState.LOST


def _ended_at(name: str, cache: Cache, now: float) -> float:
    """When it finished, as well as it can be known: the agent's clock may be wrong."""
    stored, status = cache.instances.get(name), cache.statuses.get(name)
    if stored is None:
        return 0.0
    began = stored.value.placed_at or stored.value.created_at
    told = status.value.finished_at if status is not None and status.value.uid == stored.value.uid else None
    return min(max(told if told is not None else began, began), now)


def plan_events(cache: Cache, now: float, settings: ControlSettings) -> list[str]:
    """Names of event batches that are too old or too many; a batch's name begins with its time in microseconds."""
    names = sorted(cache.event_batches)
    oldest = f"{int((now - settings.keep_events_s) * 1e6):018d}"
    counted = 0
    gone: list[str] = []
    for name in reversed(names):
        stored = cache.event_batches.get(name)
        counted += len(stored.value.events) if stored is not None else 0
        if counted > settings.keep_events or name < oldest:
            gone.append(name)
    return gone[-_SWEEP:]


def orphans(names: Iterable[str], cache: Cache) -> list[str]:
    """Statuses among ``names`` whose instance no longer exists."""
    return [name for name in names if name in cache.statuses and name not in cache.instances]
