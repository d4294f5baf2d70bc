"""How many instances of each revision a service should have, and which ones go."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from newbon_core.controllers.restarts import next_restart
from newbon_core.controllers.roster import Roster
from newbon_core.model import Service
from newbon_core.state.cache import Cache

CREATED_AT_ONCE = 2000
"""So many instances of one service are created in one step; what is created calls for the next step, and between
the two every other service has its turn."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """An instance to be created. ``replaces`` names the finished one whose place it takes."""

    failures: int = 0
    not_before: float = 0.0
    replaces: str | None = None


@dataclass(frozen=True, slots=True)
class Retired:
    """An instance that is no longer wanted, and why."""

    name: str
    reason: str


@dataclass(slots=True)
class ReplicaPlan:
    """What has to change. ``foreign``: instances of an earlier service of this name were found."""

    fresh: list[Fresh] = field(default_factory=list)
    retired: list[Retired] = field(default_factory=list)
    foreign: bool = False

    def retire(self, names: Iterable[str], reason: str) -> None:
        """Add instances that are no longer wanted."""
        self.retired += [Retired(name, reason) for name in names]


@dataclass(slots=True)
class _Split:
    """A service's instances by revision: those of the present one, and the outdated."""

    waiting: list[str]
    starting: list[str]
    running: list[str]
    old_waiting: list[str] = field(default_factory=list)
    old: list[str] = field(default_factory=list)
    completed: list[str] = field(default_factory=list)
    successors: list[Fresh] = field(default_factory=list)

    @property
    def current(self) -> int:
        return len(self.waiting) + len(self.starting) + len(self.running) + len(self.completed) + len(self.successors)


def plan_replicas(service: Service | None, roster: Roster, cache: Cache, now: float) -> ReplicaPlan:
    """Bring a service to its replicas.

    - Without a service, all its instances go.
    - What finished by itself is replaced after its backoff, or, where the policy says that it has done its work, keeps
      filling its place.
    - Too few: new ones are created, ``CREATED_AT_ONCE`` at most in one plan.
    - Too many: the newest go first, those that wait before those that start before those that run.
    - Outdated ones are replaced ``update.parallelism`` at a time. start-first: an old one goes when a new one runs.
      stop-first: a new one comes when an old one has gone. Where new ones cannot be placed beside the old because of
      fixed host ports, old ones go first all the same.
    """
    plan = ReplicaPlan()
    if service is None:
        for group in (roster.waiting, roster.starting, roster.running):
            plan.retire(group, "the service was deleted")
        return plan
    split = _split(service, roster, cache, now, plan)
    plan.retire(split.old_waiting, "outdated before it was placed")
    _remove_surplus(service, split, cache, plan)
    plan.fresh += split.successors
    if split.old:
        _roll(service, roster, split, cache, now, plan)
    else:
        _create(plan, service.replicas - split.current - _still_leaving(service, roster))
    return plan


def _create(plan: ReplicaPlan, count: int) -> None:
    plan.fresh += [Fresh()] * max(0, min(count, CREATED_AT_ONCE))


def _split(service: Service, roster: Roster, cache: Cache, now: float, plan: ReplicaPlan) -> _Split:
    foreign = _foreign(service, roster, cache)
    if foreign:
        plan.foreign = True
        plan.retire(foreign, "it belongs to an earlier service of this name")
    if not foreign and all(revision == service.revision for revision in roster.active):
        split = _Split(list(roster.waiting), list(roster.starting), list(roster.running))
    else:
        split = _by_revision(service, roster, set(foreign))
    for name in roster.exited:
        stored, status = cache.instances.get(name), cache.statuses.get(name)
        if stored is None or status is None or name in foreign:
            continue
        if stored.value.revision != service.revision:
            plan.retire([name], "outdated")
            continue
        again = next_restart(service.restart, stored.value, status.value, now)
        if again is None:
            split.completed.append(name)
        else:
            split.successors.append(Fresh(again.failures, again.not_before, name))
    return split


def _by_revision(service: Service, roster: Roster, foreign: set[str]) -> _Split:
    def of(group: dict[str, int], current: bool) -> list[str]:
        return [n for n, r in group.items() if (r == service.revision) == current and n not in foreign]

    split = _Split(of(roster.waiting, True), of(roster.starting, True), of(roster.running, True))
    split.old_waiting = of(roster.waiting, False)
    split.old = of(roster.starting, False) + of(roster.running, False)
    return split


def _foreign(service: Service, roster: Roster, cache: Cache) -> list[str]:
    """Instances that are older than the service: it was deleted and applied again before they were gone."""
    if roster.life == service.created_at:
        return []
    groups = (roster.waiting, roster.starting, roster.running, roster.exited)
    found = ((name, cache.instances.get(name)) for group in groups for name in group)
    return [name for name, stored in found if stored is not None and stored.value.created_at < service.created_at]


def _newest_first(names: Iterable[str], cache: Cache) -> list[str]:
    def age(name: str) -> tuple[float, int]:
        stored = cache.instances.get(name)
        return (stored.value.created_at, stored.value.number) if stored is not None else (0.0, 0)

    return sorted(names, key=age, reverse=True)


def _remove_surplus(service: Service, split: _Split, cache: Cache, plan: ReplicaPlan) -> None:
    """Too many of the present revision: those that cost nobody anything go first, then the newest."""
    surplus = split.current - service.replicas
    if surplus <= 0:
        return
    reason = f"scaled to {service.replicas}"
    dropped = split.successors[max(0, len(split.successors) - surplus) :]
    del split.successors[len(split.successors) - len(dropped) :]
    plan.retire([fresh.replaces for fresh in dropped if fresh.replaces is not None], reason)
    surplus -= len(dropped)
    for group in (split.waiting, split.starting, split.running):
        gone = _newest_first(group, cache)[:surplus]
        plan.retire(gone, reason)
        surplus -= len(gone)
        if gone:
            out = set(gone)
            group[:] = [name for name in group if name not in out]
    gone = _newest_first(split.completed, cache)[:surplus]
    plan.retire(gone, reason)
    split.completed = [name for name in split.completed if name not in gone]


def _still_leaving(service: Service, roster: Roster) -> int:
    """Outdated ones whose end a stop-first update waits for."""
    if service.update.order != "stop-first":
        return 0
    return sum(revision != service.revision for revision in roster.leaving.values())


def _roll(service: Service, roster: Roster, split: _Split, cache: Cache, now: float, plan: ReplicaPlan) -> None:
    """One step of replacing the outdated ones."""
    parallelism = max(1, service.update.parallelism)
    running = set(roster.running)
    # Those that do not run go first: nobody misses them.
    old = sorted(_newest_first(split.old, cache), key=lambda name: name in running)
    in_flight = split.current - len(split.running) - len(split.completed)
    leaving = sum(revision != service.revision for revision in roster.leaving.values())
    ready = len(split.running) + len(split.completed)
    if service.update.order == "start-first":
        stop = ready + len(old) - service.replicas
        stuck = _stuck_on_ports(service, split, cache, now)
        if stuck and stop <= 0:
            stop = min(stuck, parallelism) - leaving
    else:
        stop = max(parallelism - in_flight - leaving, split.current + len(old) - service.replicas)
    stopped = old[: max(0, stop)]
    plan.retire(stopped, f"replaced by revision {service.revision}")
    left = len(old) - len(stopped)
    if service.update.order == "stop-first":
        _create(plan, service.replicas - split.current - left - leaving - len(stopped))
        return
    missing = max(0, service.replicas - split.current - left)
    room = min(parallelism - in_flight - missing, left, service.replicas - split.current - missing)
    _create(plan, missing + max(0, room))


def _stuck_on_ports(service: Service, split: _Split, cache: Cache, now: float) -> int:
    """New ones that were tried and found no node, where the old may hold the host ports that they need."""
    if not any(port.host_port for port in service.container.ports):
        return 0
    found = (cache.instances.get(name) for name in split.waiting)
    waiting = (stored.value for stored in found if stored is not None)
    return sum(instance.waiting is not None and instance.not_before <= now for instance in waiting)
