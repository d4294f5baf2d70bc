"""The control loop: what changed since the last step -> plans -> units -> one commit. Owns no thread and no clock."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Sequence

from newbon_core.controllers.garbage import orphans, plan_events, plan_garbage
from newbon_core.controllers.index import Index
from newbon_core.controllers.nodes import NodesController
from newbon_core.controllers.placing import Placing, Scheduler, Unit, Wish
from newbon_core.controllers.replicas import plan_replicas
from newbon_core.controllers.roster import Roster
from newbon_core.controllers.settings import ControlSettings
from newbon_core.model import EventBatch, Instance, InstanceStatus, Revision, Service, revision_name
from newbon_core.state.cache import Cache, Stored
from newbon_core.state.changes import Changes, NewId, commit_units, random_id
from newbon_core.state.codec import ROOT
from newbon_core.state.fleet import Fleet
from newbon_core.store.base import Compare, Put, Store, StoreUnavailable

log = logging.getLogger(__name__)
_BARRIER = f"{ROOT}control/barrier"
_UNITS_PER_STEP = 5_000
_CONFLICT_S = 0.01


class ControlLoop:
    """See ``step``. One thread calls it; the cache and the fleet may be fed from others.

    ``fence`` gives what every transaction is compared with besides (leadership). ``new_uid`` makes uids of instances,
    ``new_id`` the unique ends of names of event batches. ``held`` says why instances of a service must not be placed,
    "" where they may; it is asked once per revision.
    """

    def __init__(
        self,
        store: Store,
        cache: Cache,
        scheduler: Scheduler,
        fleet: Fleet,
        settings: ControlSettings,
        new_uid: Callable[[], str],
        *,
        fence: Callable[[], Sequence[Compare]] = tuple,
        new_id: NewId = random_id,
        held: Callable[[Service], str] = lambda service: "",  # noqa: ARG005
    ) -> None:
        self._store = store
        self._cache = cache
        self._scheduler = scheduler
        self._settings = settings
        self._fence = fence
        self._new_id = new_id
        self._held = held
        self._placing = Placing(cache, scheduler, new_uid)
        self._index = Index(cache, scheduler.table, settings.zone_label)
        self._timers: list[tuple[float, str, str]] = []
        self._nodes = NodesController(
            cache, fleet, self._index, settings, lambda at, name: self._wake_at(at, "node", name)
        )
        self._started = False
        self._asked: float | None = None
        self._needed = 0
        self._unsure = False
        self._again_at: float | None = None
        self._reserved: dict[str, None] = {}
        self._retried_at = float("-inf")
        self._sweep_events = False
        cache.subscribe(self._index.note)

    def step(self, now: float) -> float | None:
        """Decide what follows from all changes seen and all times that have come, and commit it.

        Returns when it wants to be called again though nothing changes; None: only on a change. It does nothing while
        the cache has not seen the loop's own last commit, for it would decide from the past; so call it after every
        batch of the watch. A store that does not answer is asked again later, and what it may have written is found
        out first.
        """
        self._again_at = None
        try:
            if not self._step(now):
                self._asked = now + self._settings.store_retry_s
                return self._asked
        except StoreUnavailable as error:
            log.warning("the store does not answer, trying again in %s s: %s", self._settings.store_retry_s, error)
            self._unsure = True
            self._asked = now + self._settings.store_retry_s
            return self._asked
        self._asked = self._next_wake(now)
        return self._asked

    def _step(self, now: float) -> bool:
        """False while the cache is behind the loop's own commits."""
        self._begin(now)
        # Before the digest: what is noted while it goes on may miss some of what the cache holds by then.
        seen = self._index.revision
        self._index.digest(now)
        if self._unsure:
            # Whatever a lost or refused transaction was about is in the store before this write.
            self._needed = self._store.txn([], [Put(_BARRIER, b"1")]).revision
            self._unsure = False
        if seen < self._needed:
            return False
        self._settle_reservations()
        self._take_timers(now)
        units = self._nodes.plan(now) or self._plan_services(now)
        if units:
            self._commit(units, now)
        return True

    def _begin(self, now: float) -> None:
        """The first step takes everything; a step that comes far too late gives every node its full time anew."""
        if not self._started:
            self._started = True
            self._nodes.base = now
            self._index.seed(now)
            self._wake_at(now, "events", "")
        elif self._asked is not None and now - self._asked > self._settings.lost_after_s / 2:
            log.warning("the control loop slept for %.1f s: nodes get their full time anew", now - self._asked)
            self._nodes.base = now

    # --- commits ---

    def _commit(self, units: Sequence[Unit], now: float) -> None:
        for unit in units:
            # Whatever becomes of the commit, the next step looks at these again.
            if unit.reserved is not None:
                self._reserved[unit.reserved] = None
            if unit.service is not None:
                self._index.services[unit.service] = None
            if unit.node is not None:
                self._index.nodes[unit.node] = None
        result = commit_units(self._store, [unit.changes for unit in units], self._fence(), self._new_id)
        self._needed = max(self._needed, result.written)
        if not result.all:
            self._unsure = True
            self._again_at = now + _CONFLICT_S

    def _settle_reservations(self) -> None:
        """All own writes are seen: room that was reserved for an instance that is not there is given back."""
        gone = []
        for name in self._reserved:
            stored = self._cache.instances.get(name)
            if stored is None or stored.value.node is None:
                gone.append(name)
        if gone:
            self._scheduler.release(gone)
        self._reserved.clear()

    # --- times ---

    def _wake_at(self, at: float, kind: str, name: str) -> None:
        heapq.heappush(self._timers, (at, kind, name))

    def _take_timers(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            _, kind, name = heapq.heappop(self._timers)
            if kind == "node":
                self._nodes.due(name)
            elif kind == "events":
                self._sweep_events = True
                self._wake_at(now + self._settings.events_sweep_s, "events", "")
            else:
                self._index.services[name] = None
                roster = self._index.rosters.get(name)
                if roster is not None:
                    roster.wake_at = None

    def _next_wake(self, now: float) -> float | None:
        wakes = [at for at in (self._again_at, self._nodes.wake_at) if at is not None]
        if self._timers:
            wakes.append(self._timers[0][0])
        retry_at = self._retried_at + self._settings.retry_pace_s
        if now < retry_at and any(self._could_help(name) for name in self._index.waiting):
            wakes.append(retry_at)
        return max(min(wakes), now) if wakes else None

    # --- services ---

    def _plan_services(self, now: float) -> list[Unit]:
        self._retry_waiting(now)
        units = self._sweep(now)
        wishes: list[Wish] = []
        wished = 0
        for name in sorted(self._index.services, key=self._urgency):
            if len(units) + wished >= _UNITS_PER_STEP:
                break
            del self._index.services[name]
            ended, wish = self._plan_service(name, now)
            units += ended
            if wish is not None:
                wishes.append(wish)
                wished += len(wish.due)
        # All of them at once: services that are alike are placed as one group.
        units += self._placing.place(wishes, now)
        for wish in wishes:
            if wish.roster.stale:
                self._wake_service(wish.roster, wish.roster.explained_at + self._settings.explain_pace_s)
        return units

    def _urgency(self, name: str) -> int:
        stored = self._cache.services.get(name)
        return -stored.value.schedule.priority if stored is not None else 0

    def _could_help(self, name: str) -> bool:
        roster = self._index.rosters.get(name)
        return roster is not None and bool(roster.waiting) and roster.tried != self._scheduler.table.improvements

    def _retry_waiting(self, now: float) -> None:
        """Plan every service again that has waiting instances, if something changed that could help them."""
        if now < self._retried_at + self._settings.retry_pace_s:
            return
        for name in list(self._index.waiting):
            roster = self._index.rosters.get(name)
            if roster is None or not roster.waiting:
                del self._index.waiting[name]
            elif self._could_help(name):
                self._index.services[name] = None
                self._retried_at = now

    def _plan_service(self, name: str, now: float) -> tuple[list[Unit], Wish | None]:
        """What has to go, and what is to be placed."""
        stored = self._cache.services.get(name)
        service = stored.value if stored is not None else None
        roster = self._index.roster(name)
        if service is not None and self._is_settled(service, roster):
            return [], None
        plan = plan_replicas(service, roster, self._cache, now)
        if service is not None and not plan.foreign:
            roster.life = service.created_at
        units = self._placing.retire(stored, plan, name, now)
        garbage = plan_garbage(service, roster, self._cache, now, self._settings)
        units += [self._forget(instance, name) for instance in garbage.instances]
        units += [self._forget_revision(name, number) for number in garbage.revisions]
        wakes = [garbage.wake_at] if garbage.wake_at is not None else []
        wish = None
        if stored is not None:
            retired = {one.name for one in plan.retired}
            waiting, backoff_at = self._waiting(roster, stored.value.revision, retired, now)
            if backoff_at is not None:
                wakes.append(backoff_at)
            explain = now >= roster.explained_at + self._settings.explain_pace_s
            if not self._is_to_try(roster, waiting, explain):
                waiting = []
            if waiting or plan.fresh:
                roster.tried, roster.tried_at = self._scheduler.table.improvements, now
                held = self._held_by(stored.value, roster)
                wish = self._placing.wish(stored, waiting, plan.fresh, roster, now, explain, held)
                if explain:
                    roster.explained_at = now
            elif roster.stale:
                wakes.append(roster.explained_at + self._settings.explain_pace_s)
        elif roster.empty and not units:
            self._index.forget_service(name)
        self._wake_service(roster, min(wakes, default=None))
        return units, wish

    def _is_settled(self, service: Service, roster: Roster) -> bool:
        """Nothing to do, as for most services at most times: found out without planning anything."""
        return (
            roster.life == service.created_at
            and roster.settled(service.revision, service.replicas)
            and not roster.stale
            and len(roster.past) <= self._settings.keep_revisions
        )

    def _held_by(self, service: Service, roster: Roster) -> str:
        if roster.held[0] != service.revision:
            roster.held = (service.revision, self._held(service))
        return roster.held[1]

    def _wake_service(self, roster: Roster, at: float | None) -> None:
        if at is not None and (roster.wake_at is None or at < roster.wake_at):
            roster.wake_at = at
            self._wake_at(at, "service", roster.service)

    def _waiting(
        self, roster: Roster, revision: int, retired: set[str], now: float
    ) -> tuple[list[Stored[Instance]], float | None]:
        """The instances that want a node now, and when the next one's backoff is over."""
        due: list[Stored[Instance]] = []
        backoff_at: float | None = None
        for name, its_revision in roster.waiting.items():
            stored = self._cache.instances.get(name)
            if stored is None or stored.value.node is not None or its_revision != revision or name in retired:
                continue
            not_before = stored.value.not_before
            if not_before <= now:
                due.append(stored)
            elif backoff_at is None or not_before < backoff_at:
                backoff_at = not_before
        return due, backoff_at

    def _is_to_try(self, roster: Roster, waiting: Sequence[Stored[Instance]], explain: bool) -> bool:
        """Placing what waits is only tried when something changed that could help, or when it was not tried yet."""
        if roster.tried != self._scheduler.table.improvements or (roster.stale and explain):
            return True
        return any(stored.value.not_before > roster.tried_at for stored in waiting)

    # --- the past ---

    def _forget(self, name: str, service: str) -> Unit:
        changes = Changes()
        changes.delete(Instance, name, self._cache.instances.get(name))
        status = self._cache.statuses.get(name)
        if status is not None:
            changes.delete(InstanceStatus, name, status)
        return Unit(changes, service)

    def _forget_revision(self, service: str, number: int) -> Unit:
        changes = Changes()
        changes.delete(Revision, revision_name(service, number), None)
        changes.require(Service, service, self._cache.services.get(service))
        return Unit(changes, service)

    def _sweep(self, now: float) -> list[Unit]:
        """Statuses without an instance, and old events; what could not be deleted is found again later."""
        units: list[Unit] = []
        for name in orphans(self._index.orphans, self._cache):
            changes = Changes()
            changes.delete(InstanceStatus, name, self._cache.statuses.get(name))
            changes.require(Instance, name, None)
            units.append(Unit(changes))
        self._index.orphans.clear()
        if self._sweep_events and self._index.events_changed:
            old = plan_events(self._cache, now, self._settings)
            self._index.events_changed = bool(old)
            for name in old:
                changes = Changes()
                changes.delete(EventBatch, name, None)
                units.append(Unit(changes))
        self._sweep_events = False
        return units
