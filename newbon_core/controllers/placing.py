"""Turning plans into units to commit: new instances get names, uids and, where there is room, a node at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from newbon_core.controllers.replicas import Fresh, ReplicaPlan, Retired
from newbon_core.controllers.roster import Roster
from newbon_core.hooks import PlacementRequest
from newbon_core.model import (
    FINISHED,
    Event,
    EventLevel,
    Instance,
    Node,
    NodeStatus,
    Placement,
    RevisionSpec,
    Service,
)
from newbon_core.state.cache import Cache, Stored
from newbon_core.state.changes import Changes

_NAMED = 5
"""How many instances an event names one by one."""


class GroupPlacement(Protocol):
    """Where the replicas of a request go; those that found a node come first."""

    @property
    def nodes(self) -> Sequence[str | None]: ...

    def placement(self, index: int, /) -> Placement: ...

    def summary(self) -> str: ...


class Table(Protocol):
    """What the scheduler knows of nodes and of what they hold."""

    @property
    def improvements(self) -> int: ...

    def upsert_node(self, node: Node, status: NodeStatus | None, /) -> None: ...
    def remove_node(self, name: str, /) -> None: ...
    def upsert_instance(self, instance: Instance, spec: RevisionSpec, /) -> None: ...
    def remove_instance(self, name: str, /) -> None: ...
    def record_failure(self, service: str, node: str, at: float, /) -> None: ...


class Scheduler(Protocol):
    """The part of ``newbon_core.scheduler.Scheduler`` that the controllers use."""

    @property
    def table(self) -> Table: ...

    def place_many(self, wanted: Sequence[tuple[PlacementRequest, Sequence[str]]], /) -> Sequence[GroupPlacement]: ...

    def release(self, names: Sequence[str], /) -> None: ...


@dataclass(slots=True)
class Unit:
    """Changes that belong together, whom they concern, and the instance for which room was reserved."""

    changes: Changes
    service: str | None = None
    reserved: str | None = None
    node: str | None = None


@dataclass(slots=True)
class _Candidate:
    """An instance that wants a node: a stored one, or one to be created (in whose place)."""

    instance: Instance
    stored: Stored[Instance] | None = None
    fresh: Fresh | None = None


@dataclass(slots=True)
class Wish:
    """What a service wants placed and created.

    ``explain``: why those wait that find no node is written anew. ``held``: why none may be placed, if so.
    """

    service: Stored[Service]
    roster: Roster
    due: list[_Candidate]
    created: list[_Candidate]
    explain: bool
    held: str = ""


class Placing:
    """Makes the units of one service after another; remembers nothing."""

    def __init__(self, cache: Cache, scheduler: Scheduler, new_uid: Callable[[], str]) -> None:
        self._cache = cache
        self._scheduler = scheduler
        self._new_uid = new_uid

    def retire(self, service: Stored[Service] | None, plan: ReplicaPlan, name: str, now: float) -> list[Unit]:
        """Units that end what is no longer wanted; an instance without a node leaves nothing to be stopped."""
        units: list[Unit] = []
        for retired in plan.retired:
            stored = self._cache.instances.get(retired.name)
            if stored is None:
                continue
            unit = Changes()
            unit.require(Service, name, service)
            if stored.value.node is None:
                unit.delete(Instance, retired.name, stored)
            else:
                unit.update(replace(stored.value, wanted="stopped", reason=retired.reason), stored)
            units.append(Unit(unit, name))
        if units:
            units[0].changes.events += _retired_events(name, plan.retired, now)
        return units

    def wish(
        self,
        service: Stored[Service],
        waiting: Sequence[Stored[Instance]],
        fresh: Sequence[Fresh],
        roster: Roster,
        now: float,
        explain: bool,
        held: str = "",
    ) -> Wish:
        """``fresh`` gets names; those that are due and ``waiting`` are to be placed as one group, unless ``held``."""
        created = self._create(service.value, roster, fresh, now)
        due = [_Candidate(stored.value, stored) for stored in waiting]
        due += [one for one in created if one.instance.not_before <= now]
        return Wish(service, roster, due, created, explain, held)

    def place(self, wishes: Sequence[Wish], now: float) -> list[Unit]:
        """Place all wishes, in order; their rosters' ``stale`` is set."""
        asked = [wish for wish in wishes if wish.due and not wish.held]
        groups = iter(
            self._scheduler.place_many(
                [
                    (_request(wish.service.value, len(wish.due), now), [one.instance.name for one in wish.due])
                    for wish in asked
                ]
            )
        )
        units: list[Unit] = []
        for wish in wishes:
            units += self._units(wish, next(groups) if wish.due and not wish.held else None, now)
        return units

    def _units(self, wish: Wish, group: GroupPlacement | None, now: float) -> list[Unit]:
        service = wish.service
        units: list[Unit] = []
        placed: list[Instance] = []
        stale = False
        summary = group.summary() if group is not None and group.nodes[-1] is None else wish.held
        for position, one in enumerate(wish.due):
            node = group.nodes[position] if group is not None else None
            if group is not None and node is not None:
                instance = on_node(one.instance, node, group.placement(position), now)
                placed.append(instance)
                units.append(self._write(service, one, instance))
            elif one.stored is None or (wish.explain and one.instance.waiting != summary):
                units.append(self._write(service, one, replace(one.instance, waiting=summary)))
            else:
                stale |= one.instance.waiting != summary
        for one in wish.created:
            if one.instance.not_before > now:
                reason = f"backoff after {_count(one.instance.failures, 'failure')} in a row"
                units.append(self._write(service, one, replace(one.instance, waiting=reason)))
        if units:
            events = units[0].changes.events
            events += self._failure_events(wish.created, now)
            events += _placed_events(service.value.name, placed, now)
            unplaced = len(wish.due) - len(placed)
            if unplaced and any(one.stored is None for one in wish.due):
                message = f"{_count(unplaced, 'instance')} of {service.value.name} without a node: {summary}"
                events.append(_event(now, "warning", "InstancesWaiting", service.value.name, message))
        wish.roster.stale = stale
        return units

    def _create(self, service: Service, roster: Roster, fresh: Sequence[Fresh], now: float) -> list[_Candidate]:
        candidates: list[_Candidate] = []
        number = roster.hint
        for one in fresh:
            while f"{service.name}-{number}" in self._cache.instances:
                number += 1
            if not candidates:
                roster.hint = number
            instance = Instance(
                name=f"{service.name}-{number}",
                uid=self._new_uid(),
                service=service.name,
                number=number,
                revision=service.revision,
                # Never older than its service: that would mark it as one of an earlier service of this name.
                created_at=max(now, service.created_at),
                not_before=one.not_before,
                failures=one.failures,
            )
            candidates.append(_Candidate(instance, fresh=one))
            number += 1
        return candidates

    def _write(self, service: Stored[Service], one: _Candidate, instance: Instance) -> Unit:
        unit = Changes()
        unit.require(Service, service.value.name, service)
        if one.stored is not None:
            unit.update(instance, one.stored)
        else:
            unit.create(instance)
        if one.fresh is not None and one.fresh.replaces is not None:
            finished = self._cache.instances.get(one.fresh.replaces)
            if finished is not None:
                unit.update(replace(finished.value, wanted="stopped", reason=f"replaced by {instance.name}"), finished)
        return Unit(unit, service.value.name, instance.name if instance.node is not None else None)

    def _failure_events(self, created: Sequence[_Candidate], now: float) -> list[Event]:
        ended = [one for one in created if one.fresh is not None and one.fresh.replaces is not None]
        events: list[Event] = []
        for one in ended[:_NAMED]:
            assert one.fresh is not None
            name = one.fresh.replaces or ""
            status = self._cache.statuses.get(name)
            if status is None:
                continue
            seen = status.value
            wait = max(0.0, one.instance.not_before - now)
            level: EventLevel = "warning" if seen.state in FINISHED and seen.state.value == "failed" else "info"
            why = f": {seen.message}" if seen.message else ""
            message = (
                f"{name} {seen.state.value} on {seen.node}{why}; {one.instance.name} takes its place in {wait:g} s"
            )
            events.append(
                replace(
                    _event(now, level, "InstanceEnded", one.instance.service, message),
                    kind="Instance",
                    name=name,
                    node=seen.node,
                )
            )
        if len(ended) > _NAMED:
            service = ended[0].instance.service
            message = f"{len(ended) - _NAMED} more instances of {service} ended and are replaced"
            events.append(_event(now, "warning", "InstancesEnded", service, message))
        return events


def on_node(waiting: Instance, node: str, why: Placement, now: float) -> Instance:
    """The instance on a node; written out, for ``replace`` takes twice as long and this is done for every instance."""
    return Instance(
        name=waiting.name,
        uid=waiting.uid,
        service=waiting.service,
        number=waiting.number,
        revision=waiting.revision,
        wanted=waiting.wanted,
        node=node,
        created_at=waiting.created_at,
        placed_at=now,
        not_before=waiting.not_before,
        failures=waiting.failures,
        placement=why,
        reason=waiting.reason,
    )


def _request(service: Service, count: int, now: float) -> PlacementRequest:
    return PlacementRequest(
        service=service.name,
        revision=service.revision,
        container=service.container,
        schedule=service.schedule,
        count=count,
        now=now,
    )


def _event(now: float, level: EventLevel, reason: str, service: str, message: str) -> Event:
    return Event(time=now, level=level, reason=reason, kind="Service", name=service, message=message, service=service)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _some(parts: Sequence[str]) -> str:
    """The first parts, and how many more there are."""
    rest = len(parts) - _NAMED
    return ", ".join(parts[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _placed_events(service: str, placed: Sequence[Instance], now: float) -> list[Event]:
    if not placed:
        return []
    parts = [f"{instance.name} on {instance.node}" for instance in placed]
    return [_event(now, "info", "InstancesPlaced", service, f"placed {_some(parts)}")]


def _retired_events(service: str, retired: Sequence[Retired], now: float) -> list[Event]:
    reasons: dict[str, list[str]] = {}
    for one in retired:
        reasons.setdefault(one.reason, []).append(one.name)
    return [
        _event(now, "info", "InstancesStopped", service, f"ends {_some(names)}: {reason}")
        for reason, names in reasons.items()
    ]


def node_event(now: float, level: EventLevel, reason: str, node: str, message: str) -> Event:
    """An event about a node."""
    return Event(time=now, level=level, reason=reason, kind="Node", name=node, message=message, node=node)


def spec_of(
    instance: Instance, services: Mapping[str, Stored[Service]], known: Mapping[tuple[str, int], RevisionSpec]
) -> RevisionSpec | None:
    """What an instance is made from: its service's present revision, or one seen earlier."""
    stored = services.get(instance.service)
    if stored is not None and stored.value.revision == instance.revision:
        service = stored.value
        return RevisionSpec(service.name, service.revision, service.container, service.schedule)
    return known.get((instance.service, instance.revision))
