"""Brings one node's containers to what the server ordered.

Sans I/O: it is told orders, results of actions and hints, and in ``step(now)`` hands actions to its workers. All that
it knows of containers it learns from the engines' labels, so killing it at any point loses nothing:

- a uid gets a container at most once; one that ended is reported and never started again;
- a finished container stays for a while for its logs, and for as long as the server still orders it running, for it is
  the proof that it must not be made again;
- nothing is removed before the server has told all orders; losing the server changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from newbon_core.agent.actions import (
    Action,
    EnsureImage,
    Failure,
    ListContainers,
    LookAt,
    Ping,
    RemoveContainer,
    Result,
    StartContainer,
    StopContainer,
    Workers,
)
from newbon_core.agent.health import EngineState
from newbon_core.agent.plan import ExecutorSettings, ImageState, Situation, Unit, plan_actions
from newbon_core.agent.retrying import failed_to_start, wait
from newbon_core.agent.status import Sight, pulling, status_of
from newbon_core.hooks import Container
from newbon_core.model import FINISHED, InstanceStatus
from newbon_core.model.wire import Order, OrdersUpdate

_REMEMBERED_ENDS = 10_000


class Executor:
    """Not thread-safe: one thread calls it. Call ``step`` after every other call, and when it asked to be called."""

    def __init__(
        self,
        node: str,
        runtimes: Iterable[str],
        workers: Workers,
        settings: ExecutorSettings | None = None,
        owner: str = "",
    ) -> None:
        self.node = node
        self.owner = owner
        self.settings = settings or ExecutorSettings()
        self._workers = workers
        self._engines = {name: EngineState(name, self.settings) for name in runtimes}
        self._units: dict[str, Unit] = {}
        self._images: dict[tuple[str, str], ImageState] = {}
        self._ended: dict[str, None] = {}
        self._results: list[Result] = []
        self._progress: list[tuple[EnsureImage, str]] = []
        self._hints: set[tuple[str, str]] = set()
        self._reported: dict[str, InstanceStatus] = {}
        self._changed: set[str] = set()
        self._synced = False
        self._sequence = 0
        self._actions_ended = 0
        self._dirty = True
        self._wake_at: float | None = None

    # --- what it is told --------------------------------------------------------------------------------------------

    def accept(self, update: OrdersUpdate) -> None:
        """Take orders. A full update withdraws every order that is not in it."""
        self._dirty = True
        for order in update.orders:
            self._order(order)
        withdrawn: Iterable[str] = update.withdrawn
        if update.full:
            self._synced = True
            kept = {order.uid for order in update.orders}
            withdrawn = [uid for uid, unit in self._units.items() if unit.order is not None and uid not in kept]
        for uid in withdrawn:
            if uid in self._units:
                self._units[uid].order = None

    def _order(self, order: Order) -> None:
        unit = self._units.get(order.uid)
        if unit is None:
            unit = self._unit(order.uid, order.name, order.service, order.revision, order.container.runtime)
            unit.begun = order.begun
            unit.gone = order.uid in self._ended or (order.begun and self._is_listed(unit.runtime))
        unit.order = order
        if unit.runtime not in self._engines and unit.failure is None:
            names = ", ".join(sorted(self._engines)) or "no runtime at all"
            unit.failure = f"runtime {unit.runtime!r} is not on this node, which has {names}"

    def _is_listed(self, runtime: str) -> bool:
        return runtime in self._engines and self._engines[runtime].listed

    def _unit(self, uid: str, name: str, service: str, revision: int, runtime: str) -> Unit:
        self._sequence += 1
        unit = Unit(uid, name, service, revision, runtime, self._sequence)
        self._units[uid] = unit
        return unit

    def complete(self, result: Result) -> None:
        """Take the end of an action; it counts from the next step on."""
        self._results.append(result)

    def progress(self, action: Action, message: str) -> None:
        """A sentence about an image that is being pulled."""
        if isinstance(action, EnsureImage):
            self._progress.append((action, message))

    def look(self, runtime: str, container_id: str | None = None) -> None:
        """Something happened in the engine: look at one container, or at all (None; soon, if it is not known)."""
        engine = self._engines.get(runtime)
        if engine is None:
            return
        self._dirty = True
        for unit in self._units.values():
            if unit.container is not None and unit.container.id == container_id:
                unit.look = True
                return
        if container_id is None:
            engine.list_at = 0.0
        elif any(isinstance(unit.busy, StartContainer) for unit in self._units.values()):
            # It may be the container of a start whose result has not come in yet, and have ended already.
            self._hints.add((runtime, container_id))
        else:
            engine.list_soon()

    def engine_away(self, runtime: str, why: str) -> None:
        """The engine does not answer: nothing is done there until a listing works again."""
        self._engines[runtime].list_at = 0.0
        self._lost_sight(runtime, why)

    def _lost_sight(self, runtime: str, why: str) -> None:
        """Nobody sees what happens there from now on until containers are looked at again."""
        self._engines[runtime].error = why
        self._dirty = True
        for unit in self._units.values():
            runs = unit.container is not None and unit.container.state == "running"
            if unit.runtime == runtime and (runs or unit.doubt or isinstance(unit.busy, StartContainer)):
                unit.unseen = True

    # --- what it tells ----------------------------------------------------------------------------------------------

    @property
    def settled(self) -> bool:
        """True once every engine has been listed and all orders are known: now absence means something."""
        return self._synced and all(engine.listed for engine in self._engines.values())

    @property
    def runtime_errors(self) -> dict[str, str]:
        """Each runtime that does not answer, and why."""
        return {name: engine.error for name, engine in self._engines.items() if engine.error is not None}

    def statuses(self) -> tuple[InstanceStatus, ...]:
        """Of everything on the node, as of the last step."""
        return tuple(self._reported.values())

    def take_changed(self) -> tuple[InstanceStatus, ...]:
        """Statuses that changed since this was called last."""
        changed = tuple(self._reported[uid] for uid in self._changed if uid in self._reported)
        self._changed.clear()
        return changed

    def running(self) -> list[tuple[str, Container]]:
        """Runtime and container of everything that runs, for the monitor."""
        return [
            (unit.runtime, unit.container)
            for unit in self._units.values()
            if unit.container is not None and unit.container.state == "running"
        ]

    def find(self, uid: str) -> tuple[str, Container] | None:
        """Runtime and container of a uid, for logs and commands; None when this node has none."""
        unit = self._units.get(uid)
        return (unit.runtime, unit.container) if unit is not None and unit.container is not None else None

    # --- the step ---------------------------------------------------------------------------------------------------

    def step(self, now: float) -> float | None:
        """Digest what came in, submit what comes next. Returns when it wants to be called though nothing happens."""
        self._digest(now)
        self._ask_engines(now)
        if self._dirty or (self._wake_at is not None and self._wake_at <= now):
            self._dirty = False
            self._plan(now)
            self._tell()
        times = [self._wake_at, *(engine.wake_at() for engine in self._engines.values())]
        return min((time for time in times if time is not None), default=None)

    def _plan(self, now: float) -> None:
        ready = frozenset(name for name, engine in self._engines.items() if engine.usable)
        situation = Situation(self.node, self.owner, list(self._units.values()), ready, self._images, self._synced)
        plan = plan_actions(situation, now, self.settings)
        self._wake_at = plan.wake_at
        for action in plan.actions:
            if isinstance(action, EnsureImage):
                self._images[action.runtime, action.image] = ImageState(None, now)
            elif not isinstance(action, ListContainers | Ping):
                unit = self._units[action.uid]
                unit.busy = action
                if isinstance(action, LookAt):
                    unit.look = False
            self._workers.submit(action)

    def _ask_engines(self, now: float) -> None:
        for name, engine in self._engines.items():
            silent_s = engine.hung_for(now)
            if silent_s is not None:
                self.engine_away(name, f"the engine of runtime {name} has not answered for {silent_s:.0f} s")
            for action in engine.requests(now, self._actions_ended):
                self._workers.submit(action)

    def _tell(self) -> None:
        """Compute all statuses anew; note which changed; forget units of which nothing is left."""
        for uid, unit in list(self._units.items()):
            status = status_of(unit, self.node, self._sight(unit))
            if status is None:
                self._reported.pop(uid, None)
            elif self._reported.get(uid) != status:
                self._reported[uid] = status
                self._changed.add(uid)
            if status is not None and status.state in FINISHED:
                unit.final = status
            if unit.order is None and unit.container is None and unit.busy is None and self._synced:
                del self._units[uid]
                self._reported.pop(uid, None)

    def _sight(self, unit: Unit) -> Sight:
        engine = self._engines.get(unit.runtime)
        if engine is None:
            return "sure"
        if not engine.listed:
            return "blind"
        return "unsure" if unit.doubt or engine.error is not None else "sure"

    # --- results ----------------------------------------------------------------------------------------------------

    def _digest(self, now: float) -> None:
        for pull, message in self._progress:
            for unit in self._units.values():
                if pulling(unit, pull):
                    unit.progress = message
                    unit.trouble = unit.trouble if unit.tried else None
                    self._dirty = True
        self._progress.clear()
        results, self._results = self._results, []
        for result in results:
            action = result.action
            if isinstance(action, Ping):
                self._engines[action.runtime].ping_ended(now, well=result.failure is None)
                continue
            self._dirty = True
            if result.failure is None:
                self._engines[action.runtime].heard(now)
            if isinstance(action, ListContainers):
                self._listed(action, result, now)
            elif isinstance(action, EnsureImage):
                self._image_ended(action, result, now)
            else:
                self._unit_ended(action, result, now)
        if self._hints and not any(isinstance(unit.busy, StartContainer) for unit in self._units.values()):
            for runtime, _ in self._hints:
                self._engines[runtime].list_soon()
            self._hints.clear()

    def _listed(self, action: ListContainers, result: Result, now: float) -> None:
        engine = self._engines[action.runtime]
        engine.listing = False
        if result.failure is not None:
            self._lost_sight(action.runtime, result.failure.message)
            engine.list_at = now + self.settings.engine_retry_s
            return
        first = not engine.listed
        engine.error = None
        engine.listed = True
        engine.list_at = min(engine.list_at, now + self.settings.relist_s)
        self._observe(action, [c for c in result.containers if self._is_ours(c)], first)

    def _is_ours(self, container: Container) -> bool:
        """Agents that share an engine, even under one node name, leave each other's containers alone."""
        return container.node in ("", self.node) and container.owner in ("", self.owner)

    def _observe(self, action: ListContainers, containers: Sequence[Container], first: bool) -> None:
        """Take a listing, but for units that an action has changed since it was asked for: it may be older.

        After the ``first`` one, a unit that had a container under an earlier agent and has none now has lost it.
        """
        found: set[str] = set()
        for container in containers:
            found.add(container.uid)
            unit = self._units.get(container.uid)
            if unit is None:
                unit = self._unit(
                    container.uid, container.instance, container.service, container.revision, action.runtime
                )
            elif unit.busy is not None or unit.touched > action.asked:
                continue
            self._saw(unit, container)
            unit.doubt = False
        for unit in self._units.values():
            stale = unit.busy is not None or unit.touched > action.asked
            if unit.runtime != action.runtime or unit.uid in found or stale:
                continue
            unit.doubt = False
            if unit.container is not None:
                self._saw(unit, None)
            elif unit.begun and first:
                unit.gone = True

    def _saw(self, unit: Unit, container: Container | None) -> None:
        if container is None and unit.container is not None:
            self._remember_end(unit.uid)
        if container is not None and unit.container is None:
            # The pause was before making one.
            unit.retry_at = 0.0
        self._holds(unit, container)

    def _holds(self, unit: Unit, container: Container | None) -> None:
        if container is not None and container.state == "running":
            unit.unseen = not self._engines[unit.runtime].usable
        unit.gone = container is None
        unit.container = container

    def _remember_end(self, uid: str) -> None:
        self._ended[uid] = None
        if len(self._ended) > _REMEMBERED_ENDS:
            del self._ended[next(iter(self._ended))]

    def _image_ended(self, action: EnsureImage, result: Result, now: float) -> None:
        key = (action.runtime, action.image)
        if result.image_id is not None:
            self._images[key] = ImageState(result.image_id, now)
            self._forget_old_images(now)
        else:
            self._images.pop(key, None)
        for unit in self._units.values():
            if not pulling(unit, action):
                continue
            unit.progress = None
            if result.failure is not None:
                failed_to_start(unit, result.failure, now, self.settings)
            elif not unit.tried:
                unit.trouble = None

    def _forget_old_images(self, now: float) -> None:
        for key, image in list(self._images.items()):
            if image.image_id is not None and now - image.since > self.settings.image_fresh_s:
                del self._images[key]

    def _unit_ended(
        self, action: LookAt | StartContainer | StopContainer | RemoveContainer, result: Result, now: float
    ) -> None:
        self._actions_ended += 1
        unit = self._units[action.uid]
        unit.busy = None
        unit.touched = self._actions_ended
        if result.failure is not None:
            self._unit_failed(unit, action, result.failure, now)
            return
        if isinstance(action, LookAt):
            self._saw(unit, result.container)
            return
        unit.attempts = 0
        unit.retry_at = 0.0
        unit.trouble = None
        unit.doubt = False
        if isinstance(action, StartContainer):
            self._holds(unit, result.container)
            hint = (action.runtime, result.container.id if result.container is not None else "")
            unit.look = hint in self._hints
            self._hints.discard(hint)
        elif isinstance(action, RemoveContainer):
            self._remember_end(unit.uid)
            unit.container = None
            unit.gone = True
        else:
            self._saw(unit, result.container)

    def _unit_failed(self, unit: Unit, action: Action, failure: Failure, now: float) -> None:
        if failure.retry:
            self._engines[unit.runtime].list_at = 0.0
        unit.look = unit.container is not None
        if isinstance(action, StartContainer):
            self._images.pop((unit.runtime, action.order.spec.image), None)
            unit.doubt = failure.retry and unit.container is None
            unit.tried = True
            failed_to_start(unit, failure, now, self.settings)
        elif not isinstance(action, LookAt):
            wait(unit, failure.message, now, self.settings)
