"""The server of a simulation: the real cache, fleet, scheduler and control loop, in a process that can die anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from newbon_core.controllers import ControlLoop, ControlSettings
from newbon_core.hooks.host import PluginHost
from newbon_core.model import InstanceStatus, NodeStatus
from newbon_core.model.wire import OrdersUpdate, Report, ReportReply
from newbon_core.scheduler import Scheduler
from newbon_core.state.cache import WATCH_PREFIX, Cache, ObjectChange
from newbon_core.state.changes import Changes, commit_atomic, finish_journals
from newbon_core.state.fleet import Fleet, changes_by_node
from newbon_core.store.base import StoreUnavailable, TxnResult
from newbon_core.testing.simulator_world import Crash, FaultyStore, World

T = TypeVar("T")
Deliver = Callable[[OrdersUpdate], None]


class ServerDown(Exception):
    """The server is not there, or died over the request: the caller does not know what became of it."""


class ServerLife:
    """From one start of the server process to its end."""

    def __init__(self, server: SimServer) -> None:
        store, world, settings = server.store, server.world, server.settings
        finish_journals(store)
        items, revision = store.list(WATCH_PREFIX)
        self.cache = Cache()
        self.cache.load(items, revision)
        self.watch = store.watch(WATCH_PREFIX, revision + 1)
        self.scheduler = Scheduler(server.plugins)
        self.fleet = Fleet(store, self.cache, settings)
        self.loop = ControlLoop(
            store, self.cache, self.scheduler, self.fleet, settings, world.new_id, new_id=world.new_id
        )
        self.streams: dict[str, tuple[int, Deliver, Callable[[], None]]] = {}
        self.cache.subscribe(self._send_orders)

    def _send_orders(self, changes: list[ObjectChange], revision: int) -> None:
        for node, its_changes in changes_by_node(changes).items():
            stream = self.streams.get(node)
            if stream is not None:
                update = self.fleet.orders_since(node, its_changes, revision)
                if update is not None:
                    stream[1](update)


class SimServer:
    """Starts, steps and loses ServerLife after ServerLife."""

    def __init__(self, world: World, store: FaultyStore, plugins: PluginHost, settings: ControlSettings) -> None:
        self.world = world
        self.store = store
        self.plugins = plugins
        self.settings = settings
        self.life: ServerLife | None = None
        self.watch_delay_s = (0.001, 0.003)
        self.reported: Callable[[Iterable[InstanceStatus]], None] = lambda statuses: None  # noqa: ARG005  nobody asks
        self._pump_planned = False
        self._step_at: float | None = None
        self._starts = 0

    def start(self) -> None:
        """Start the process; while the store is away it tries again every second."""
        if self.life is not None:
            return
        self._starts += 1
        try:
            self.life = ServerLife(self)
        except (StoreUnavailable, Crash) as error:
            self.world.tell(f"server does not start: {error}")
            self.world.after(1.0, self.start)
            return
        self.world.tell(f"server starts (life {self._starts})")
        self.life.fleet.wake = lambda: self._plan_step(self.world.now)
        self._pump_planned = False
        self._step_at = None
        self._plan_step(self.world.now)

    def kill(self, restart_after_s: float | None = None) -> None:
        """The process is gone, with all that it did not write; streams break."""
        if self.life is None:
            return
        self.world.tell("server dies")
        life, self.life = self.life, None
        life.watch.close()
        for _, _, broken in life.streams.values():
            broken()
        if restart_after_s is not None:
            self.world.after(restart_after_s, self.start)

    def written(self) -> None:
        """Something was written to the store: the watch will tell."""
        if not self._pump_planned and self.life is not None:
            self._pump_planned = True
            self.world.after(self.world.random.uniform(*self.watch_delay_s), lambda life=self.life: self._pump(life))  # type: ignore[misc]

    def _pump(self, life: ServerLife) -> None:
        if life is not self.life:
            return
        self._pump_planned = False
        if self.store.away:
            # A watch of a store that is away is silent; it goes on where it stopped.
            self._pump_planned = True
            self.world.after(1.0, lambda: self._pump(life))
            return
        while (batch := life.watch.poll(0)) is not None:
            life.cache.apply(batch)
        self._step(life)

    def _plan_step(self, at: float | None) -> None:
        if at is None or self.life is None or (self._step_at is not None and self._step_at <= at):
            return
        self._step_at = at
        life = self.life

        def step() -> None:
            if life is self.life and self._step_at == at:
                self._step(life)

        self.world.at(at, step)

    def _step(self, life: ServerLife) -> None:
        self._step_at = None
        try:
            wake = life.loop.step(self.world.now)
        except Crash as crash:
            self._died(crash)
            return
        self._plan_step(wake)

    def _died(self, crash: Crash) -> None:
        self.world.tell(f"server: {crash}")
        self.kill(self.world.random.choice((0.5, 2.0, 5.0, 30.0)))

    # --- requests ---

    def _handle(self, request: Callable[[ServerLife], T]) -> T:
        if self.life is None:
            raise ServerDown("the server is not running")
        try:
            return request(self.life)
        except StoreUnavailable as error:
            raise ServerDown(f"503: {error}") from error
        except Crash as crash:
            self._died(crash)
            raise ServerDown(f"the server died: {crash}") from crash

    def register(self, status: NodeStatus) -> None:
        """An agent's registration. Raises ServerDown."""
        self._handle(lambda life: life.fleet.register(status, self.world.now))

    def report(self, report: Report) -> ReportReply:
        """An agent's report. Raises ServerDown."""
        reply = self._handle(lambda life: life.fleet.report(report, self.world.now))
        self.reported(report.statuses)
        return reply

    def connect(self, node: str, connection: int, deliver: Deliver, broken: Callable[[], None]) -> None:
        """Open an agent's stream of orders; the first one tells all. Raises ServerDown."""

        def open_stream(life: ServerLife) -> None:
            present = life.streams.get(node)
            if present is None or present[0] < connection:
                life.streams[node] = (connection, deliver, broken)
                deliver(life.fleet.orders(node))

        self._handle(open_stream)

    def commit(self, plan: Callable[[Cache], Changes]) -> TxnResult:
        """What the API does for a user: decide from the cache, commit by compare-and-swap. Raises ServerDown."""
        return self._handle(lambda life: commit_atomic(self.store, plan(life.cache), new_id=self.world.new_id))
