"""A host of a simulation: an engine in memory, and the real executor and reporter of an agent that can die anywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from newbon_core.agent.actions import Action, EnsureImage, ListContainers, LookAt, StartContainer, StopContainer
from newbon_core.agent.executor import Executor
from newbon_core.agent.plan import ExecutorSettings
from newbon_core.agent.reporting import Reporter
from newbon_core.agent.workers import perform
from newbon_core.hooks import Container, RuntimeFailure
from newbon_core.model import NodeStatus
from newbon_core.model.wire import OrdersUpdate, Report, ReportReply
from newbon_core.testing.runtime import FakeRuntime
from newbon_core.testing.simulator_server import ServerDown, SimServer
from newbon_core.testing.simulator_world import Crash, Network, World

RUNTIME = "docker"
_REQUEST_TIMEOUT_S = 10.0
_RECONNECT_S = 1.0
_STREAM_DEAD_S = 20.0
_DURATIONS: Mapping[type, tuple[float, float]] = {
    ListContainers: (0.01, 0.05),
    LookAt: (0.005, 0.02),
    EnsureImage: (0.005, 0.5),
    StartContainer: (0.2, 0.6),
    StopContainer: (0.1, 2.0),
}


class SimNode:
    """One host. ``skew_s`` is how far its clock is off; it may change when the host starts."""

    def __init__(
        self,
        world: World,
        network: Network,
        server: SimServer,
        status: NodeStatus,
        *,
        heartbeat_s: float,
        executor: ExecutorSettings,
    ) -> None:
        self.world = world
        self.network = network
        self.server = server
        self.status = status
        self.name = status.name
        self.heartbeat_s = heartbeat_s
        self.executor_settings = executor
        self.skew_s = 0.0
        self.slowness = 1.0
        self.start_failures = 0.0
        self.up = True
        self.boots = 1
        self.connections = 0
        self.agent: SimAgent | None = None
        self.agent_trap: int | None = None
        self.touched: Callable[[SimNode], None] = lambda node: None  # noqa: ARG005  nobody watches yet
        self.engine = self._new_engine()
        self._exit_at: float | None = None

    def _new_engine(self) -> FakeRuntime:
        return FakeRuntime(self.clock, images={"app": "sha-app"}, fails=self._fails, name=f"{self.name}.{self.boots}")

    def clock(self) -> float:
        """What the host believes the time to be."""
        return self.world.now + self.skew_s

    def _fails(self, operation: str, subject: str) -> RuntimeFailure | None:
        if operation == "start" and self.start_failures and self.world.chance(self.start_failures):
            return RuntimeFailure(f"cannot start {subject} (simulated)", retry=self.world.chance(0.5))
        return None

    # --- its life ---

    def start_agent(self) -> None:
        """Start the agent process, unless it runs or the host is down."""
        if self.agent is None and self.up:
            self.agent = SimAgent(self)
            self.world.tell(f"{self.name}: agent starts")
            self.agent.begin()

    def kill_agent(self, restart_after_s: float | None = None) -> None:
        """The agent dies; its containers go on."""
        if self.agent is not None:
            self.world.tell(f"{self.name}: agent dies")
            self.agent = None
        if restart_after_s is not None:
            self.world.after(restart_after_s, self.start_agent)

    def kill_engine(self, containers_too: bool) -> None:
        """The engine dies, perhaps with its containers."""
        self.world.tell(f"{self.name}: engine dies{', its containers too' if containers_too else ''}")
        self.engine.kill_engine(containers_too=containers_too)
        if self.agent is not None:
            self.agent.engine_away()
        self.look()

    def start_engine(self) -> None:
        """The engine is back."""
        if self.up:
            self.engine.away = False
            if self.agent is not None:
                self.agent.executor.look(RUNTIME)
                self.agent.step()

    def kill_host(self) -> None:
        """Power off."""
        if self.up:
            self.world.tell(f"{self.name}: host dies")
            self.kill_agent()
            self.up = False
            self.engine.kill_engine(containers_too=True)
            self.look()

    def start_host(self, *, wiped: bool = False) -> None:
        """Power on; ``wiped`` with an engine that knows nothing any more."""
        if self.up:
            return
        self.world.tell(f"{self.name}: host starts{' with nothing left' if wiped else ''}")
        self.up = True
        self.boots += 1
        if wiped:
            self.engine = self._new_engine()
            self._exit_at = None
        self.engine.away = False
        self.look()
        self.start_agent()

    # --- its engine ---

    def live(self) -> list[Container]:
        """Containers that really run."""
        return [one for one in self.engine.containers() if one.state == "running"]

    def look(self) -> None:
        """Something may have happened in the engine: tell the agent and whoever watches."""
        next_exit = self.engine.advance()
        if next_exit is not None and (self._exit_at is None or next_exit < self._exit_at):
            self._exit_at = next_exit
            self.world.at(next_exit - self.skew_s + 1e-3, self._exit_due)
        self.touched(self)
        events = self.engine.take_events()
        if self.agent is not None and self.up:
            for event in events:
                self.agent.executor.look(RUNTIME, event.container_id)
            if events:
                self.agent.step()

    def _exit_due(self) -> None:
        self._exit_at = None
        self.look()

    def exit(self, container_id: str, code: int) -> None:
        """A container's process ends by itself."""
        self.engine.exit(container_id, code)
        self.look()


class SimAgent:
    """One life of an agent process."""

    def __init__(self, node: SimNode) -> None:
        self.node = node
        self.executor = Executor(node.name, [RUNTIME], self, node.executor_settings)
        self.reporter = Reporter(self.executor, f"{node.name}-boot-{node.boots}", node.heartbeat_s)
        self.orders_revision = -1
        self._connection = 0
        self._stream_at = 0.0
        self._busy = False
        self._registered = False
        self._wake_at: float | None = None

    @property
    def alive(self) -> bool:
        """False once this process has died."""
        return self.node.agent is self

    def begin(self) -> None:
        """What the agent's main does first."""
        self._register()
        self._connect()
        self.step()

    def engine_away(self) -> None:
        """The engine's stream of events has ended."""
        self.executor.engine_away(RUNTIME, "the engine does not answer")
        self.step()

    def step(self) -> None:
        """Step the executor, send what is due, plan the next step."""
        if not self.alive:
            return
        now = self.node.clock()
        try:
            wake = self.executor.step(now)
        except Crash as crash:
            self.node.world.tell(f"{self.node.name}: {crash}")
            self.node.kill_agent(self.node.world.random.choice((0.5, 3.0, 60.0)))
            return
        due = self.reporter.due_at(now)
        if self._registered and not self._busy:
            if due <= now:
                self._report(now)
            else:
                wake = due if wake is None else min(wake, due)
        if wake is not None:
            self._plan_step(wake - self.node.skew_s)

    def _plan_step(self, at: float) -> None:
        if self._wake_at is not None and self._wake_at <= at:
            return
        self._wake_at = at

        def wake() -> None:
            if self._wake_at == at:
                self._wake_at = None
                self.step()

        # A clock that is off rounds differently: a step must not come a hair too early for ever.
        self.node.world.at(at + 1e-4, wake)

    # --- workers ---

    def submit(self, action: Action) -> None:
        """The executor's workers: an action takes its time, and takes effect though the agent dies meanwhile."""
        node = self.node
        if node.agent_trap is not None:
            node.agent_trap -= 1
            if node.agent_trap < 0:
                node.agent_trap = None
                raise Crash("the agent dies over an action")
        low, high = _DURATIONS.get(type(action), (0.05, 0.2))
        boots = node.boots
        node.world.after(node.world.random.uniform(low, high) * node.slowness, lambda: self._perform(action, boots))

    def _perform(self, action: Action, boots: int) -> None:
        node = self.node
        if boots != node.boots or not node.up:
            return
        if not self.alive:
            self._left_behind(action)
            return
        result = perform(action, {RUNTIME: node.engine})
        self.executor.complete(result)
        node.look()
        self.step()

    def _left_behind(self, action: Action) -> None:
        """What a dead agent had asked its engine for: done, half done, or never begun."""
        fate = self.node.world.random.random()
        if fate < 0.4:
            perform(action, {RUNTIME: self.node.engine})
        elif fate < 0.6 and isinstance(action, StartContainer) and not self.node.engine.away:
            self.node.engine.create(action.order, action.image_id)
        self.node.look()

    # --- talking to the server ---

    def _call(self, request: Callable[[], object], done: Callable[[object | None], None]) -> None:
        """A request over the network; ``done`` is told the answer, or None when none came in time."""
        node = self.node
        ended = False

        def end(answer: object | None) -> None:
            nonlocal ended
            if not ended and self.alive:
                ended = True
                done(answer)

        def arrive() -> None:
            try:
                answer = request()
            except ServerDown:
                node.network.send(node.name, lambda: end(None))
                return
            node.network.send(node.name, lambda: end(answer))

        node.network.send(node.name, arrive, repeatable=True)
        node.world.after(_REQUEST_TIMEOUT_S, lambda: end(None))

    def _register(self) -> None:
        def done(answer: object | None) -> None:
            if answer is None:
                self.node.world.after(_RECONNECT_S, self._register_again)
            else:
                self._registered = True
                self.step()

        def register() -> object:
            self.node.server.register(self.node.status)
            return True

        self._call(register, done)

    def _register_again(self) -> None:
        if self.alive:
            self._register()

    def _report(self, now: float) -> None:
        self._busy = True
        report = self.reporter.report(now)
        self._call(lambda: self.node.server.report(report), lambda answer: self._reported(report, answer))

    def _reported(self, report: Report, answer: object | None) -> None:
        self._busy = False
        if isinstance(answer, ReportReply):
            self.reporter.acknowledge(report, answer)
            if not answer.registered:
                self._registered = False
                self._register()
        else:
            self.reporter.failed()
        self.step()

    def _connect(self) -> None:
        """Open the stream of orders; what cannot be delivered on it breaks it, and it is opened anew."""
        if not self.alive:
            return
        self.node.connections += 1
        self._connection = connection = self.node.connections

        def request() -> object:
            self.node.server.connect(
                self.node.name,
                connection,
                lambda update: self._stream(connection, update),
                lambda: self._broken(connection, self.node.world.random.uniform(0.1, 2.0)),
            )
            return True

        def done(answer: object | None) -> None:
            if answer is None:
                self._broken(connection, _RECONNECT_S)

        self._call(request, done)

    def _broken(self, connection: int, after_s: float) -> None:
        """A connection is of no more use; the agent notices after a while."""
        if connection == self._connection and self.alive:
            self._connection = 0
            self.node.world.after(after_s, self._connect)

    def _stream(self, connection: int, update: OrdersUpdate) -> None:
        """Called at the server's end. A stream keeps its order and loses nothing unless it breaks."""
        node, network = self.node, self.node.network
        lost = network.loses(node.name)
        self._stream_at = max(self._stream_at, node.world.now + node.world.random.uniform(*network.delay_s))
        node.world.at(self._stream_at, lambda: self._arrive(connection, update, lost))

    def _arrive(self, connection: int, update: OrdersUpdate, lost: bool) -> None:
        if connection != self._connection or not self.alive:
            return
        if lost or self.node.network.is_cut(self.node.name):
            self._broken(connection, self.node.world.random.uniform(0.5, _STREAM_DEAD_S))
            return
        if update.full:
            self.orders_revision = update.revision
        self.executor.accept(update)
        self.step()
