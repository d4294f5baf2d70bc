"""What an agent does next: a pure function from orders, what was seen of containers, and the time, to actions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from newbon_core.agent.actions import (
    Action,
    EnsureImage,
    LookAt,
    RemoveContainer,
    StartContainer,
    StopContainer,
)
from newbon_core.hooks import Container, ContainerOrder
from newbon_core.model import InstanceStatus
from newbon_core.model.wire import Order


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorSettings:
    """Bounds and paces of one node's executor.

    Two starts at a time give 85 % of an engine's maximum, more only adds latency; a stop mostly waits for its grace.
    Of stopped instances the last ``keep_finished`` containers of each service are kept for ``keep_finished_s``, so that
    their logs can be read. A start or pull that failed but may work later is tried ``start_attempts`` times, waiting
    ``min(retry_first_s * 2**n, retry_max_s)`` in between; then the instance has failed and goes elsewhere.
    An engine of which nothing was heard for ``ping_s`` is pinged; one that answers nothing for ``hung_s`` after that
    is away.
    """

    parallel_starts: int = 2
    parallel_stops: int = 10
    parallel_pulls: int = 2
    keep_finished: int = 5
    keep_finished_s: float = 3600.0
    relist_s: float = 60.0
    retry_first_s: float = 1.0
    retry_max_s: float = 30.0
    start_attempts: int = 6
    image_fresh_s: float = 10.0
    engine_retry_s: float = 1.0
    list_pause_s: float = 1.0
    ping_s: float = 5.0
    hung_s: float = 5.0


@dataclass(slots=True)
class Unit:
    """Everything known about one uid on this node.

    ``seq`` is its age: lower is older. ``busy`` is the action in flight. ``final`` is its finished status, which never
    changes again. ``gone``: it had a container, which is no longer there. ``look``: something happened to it.
    ``begun``: an earlier agent of this node told the server that it ran.
    ``doubt``: a start ended without an answer, and the engine has not been listed since.
    ``tried``: a start of it failed and may be tried again. ``unseen``: its engine was away since it was seen running.
    ``touched`` is the count of the last action about it that ended (see ListContainers.asked).
    """

    uid: str
    name: str
    service: str
    revision: int
    runtime: str
    seq: int
    order: Order | None = None
    container: Container | None = None
    busy: Action | None = None
    gone: bool = False
    begun: bool = False
    doubt: bool = False
    look: bool = False
    unseen: bool = False
    tried: bool = False
    failure: str | None = None
    trouble: str | None = None
    progress: str | None = None
    attempts: int = 0
    retry_at: float = 0.0
    touched: int = 0
    final: InstanceStatus | None = None


@dataclass(frozen=True, slots=True)
class ImageState:
    """An image being looked for (``image_id`` None), or found at ``since``."""

    image_id: str | None
    since: float


Wish = Literal["look", "start", "stop", "remove", "keep"]
"""``keep``: a finished container that stays for a while so that its logs can be read."""


def wish_for(unit: Unit, synced: bool) -> Wish | None:
    """What one unit needs next, whatever is in flight. ``synced``: the server has told all orders."""
    container = unit.container
    if unit.look and container is not None:
        return "look"
    if container is None:
        startable = unit.order is not None and unit.order.wanted == "running"
        return "start" if startable and not (unit.gone or unit.failure or unit.final) else None
    if unit.order is None:
        if not synced:
            return None
        return "stop" if container.state == "running" else "remove"
    if unit.order.wanted == "stopped" or unit.final is not None or unit.failure is not None:
        if container.state == "running":
            return "stop"
        if container.state == "created":
            return "remove"
        return "keep" if unit.order.wanted == "stopped" else None
    return "start" if container.state == "created" else None


def expired(kept: Iterable[Unit], now: float, settings: ExecutorSettings) -> tuple[list[Unit], float | None]:
    """Which finished containers are too many or too old, and when the next one will be too old."""
    by_service: dict[str, list[Unit]] = {}
    for unit in kept:
        by_service.setdefault(unit.service, []).append(unit)
    over: list[Unit] = []
    next_at: float | None = None
    for units in by_service.values():
        units.sort(key=lambda unit: (_finished_at(unit, now), unit.seq), reverse=True)
        for position, unit in enumerate(units):
            until = _finished_at(unit, now) + settings.keep_finished_s
            if position >= settings.keep_finished or until <= now:
                over.append(unit)
            else:
                next_at = until if next_at is None else min(next_at, until)
    return over, next_at


def _finished_at(unit: Unit, now: float) -> float:
    if unit.container is not None and unit.container.finished_at is not None:
        return min(unit.container.finished_at, now)
    return 0.0


@dataclass(frozen=True, slots=True)
class Situation:
    """What ``plan_actions`` decides from. ``ready``: runtimes that answer and whose containers are known."""

    node: str
    owner: str
    units: Sequence[Unit]
    ready: frozenset[str]
    images: Mapping[tuple[str, str], ImageState]
    synced: bool


@dataclass(slots=True)
class Plan:
    """Actions to submit now, oldest first, and when to plan again though nothing happens (None: never)."""

    actions: list[Action] = field(default_factory=list)
    wake_at: float | None = None

    def wake(self, at: float | None) -> None:
        """Plan again at this time or before."""
        if at is not None and (self.wake_at is None or at < self.wake_at):
            self.wake_at = at


def plan_actions(situation: Situation, now: float, settings: ExecutorSettings) -> Plan:
    """The next actions within the bounds on parallel work; nothing for a unit or image that has one in flight."""
    plan = Plan()
    starts: list[Unit] = []
    stops: list[tuple[Unit, Wish]] = []
    kept: list[Unit] = []
    starting = sum(isinstance(unit.busy, StartContainer) for unit in situation.units)
    stopping = sum(isinstance(unit.busy, StopContainer | RemoveContainer) for unit in situation.units)
    for unit in situation.units:
        if unit.busy is not None or unit.runtime not in situation.ready:
            continue
        wish = wish_for(unit, situation.synced)
        if wish is None:
            continue
        if wish == "look" and unit.container is not None:
            plan.actions.append(LookAt(unit.runtime, unit.uid, unit.container.id))
        elif wish == "keep":
            kept.append(unit)
        elif unit.retry_at > now:
            plan.wake(unit.retry_at)
        elif wish == "start":
            starts.append(unit)
        else:
            stops.append((unit, wish))
    over, next_at = expired(kept, now, settings)
    plan.wake(next_at)
    for unit in over:
        if unit.retry_at > now:
            plan.wake(unit.retry_at)
        else:
            stops.append((unit, "remove"))
    for unit, wish in stops[: max(0, settings.parallel_stops - stopping)]:
        plan.actions.append(_end(unit, wish))
    plan.actions += _begin(starts, situation, settings.parallel_starts - starting, now, settings)
    return plan


def _end(unit: Unit, wish: Wish) -> Action:
    assert unit.container is not None
    if wish == "remove":
        return RemoveContainer(unit.runtime, unit.uid, unit.container.id)
    grace_s = unit.order.container.stop_grace_s if unit.order is not None else 10.0
    return StopContainer(unit.runtime, unit.uid, unit.container.id, grace_s)


def _begin(
    starts: Sequence[Unit], situation: Situation, room: int, now: float, settings: ExecutorSettings
) -> list[Action]:
    """Starts whose image is there, and a search for each image that is not known to be."""
    actions: list[Action] = []
    looked_for = {key for key, image in situation.images.items() if image.image_id is None}
    for unit in starts:
        assert unit.order is not None
        key = (unit.runtime, unit.order.container.image)
        image = situation.images.get(key)
        if image is not None and image.image_id is not None and now - image.since <= settings.image_fresh_s:
            if room > 0:
                room -= 1
                actions.append(
                    StartContainer(unit.runtime, unit.uid, container_order(unit.order, situation), image.image_id)
                )
        elif key not in looked_for and (room > 0 or image is None) and len(looked_for) < settings.parallel_pulls:
            looked_for.add(key)
            actions.append(EnsureImage(*key))
    return actions


def container_order(order: Order, situation: Situation) -> ContainerOrder:
    """The order as a runtime takes it; the container finds its own names in its environment."""
    return ContainerOrder(
        uid=order.uid,
        instance=order.name,
        service=order.service,
        revision=order.revision,
        node=situation.node,
        owner=situation.owner,
        spec=order.container,
        env={
            "NEWBON_INSTANCE": order.name,
            "NEWBON_SERVICE": order.service,
            "NEWBON_REVISION": str(order.revision),
            "NEWBON_NODE": situation.node,
        },
    )
