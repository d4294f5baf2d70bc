"""Random hours: users who change their minds, and all that can break breaking, everything from one seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from newbon_core.model import ContainerSpec, Port, Resources, Restart, Schedule, Service, Update
from newbon_core.testing.simulator import Simulation
from newbon_core.testing.simulator_node import SimNode
from newbon_core.testing.simulator_server import ServerDown

_MIB = 2**20
_TRAPS = ("crash-before", "crash-after", "fail-before", "fail-after")
_EXIT_CODES = (0, 1, 137)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosSettings:
    """``fault_every_s`` and ``user_every_s`` are means. After the last fault the cluster has ``settle_s`` to settle."""

    hours: float = 2.0
    fault_every_s: float = 120.0
    user_every_s: float = 300.0
    services: int = 4
    settle_s: float = 1800.0


class Chaos:
    """Plans one fault or user's action after another. Every fault heals by itself; ``calm`` heals what is left."""

    def __init__(self, simulation: Simulation, settings: ChaosSettings) -> None:
        self.simulation = simulation
        self._settings = settings
        self._world = simulation.world
        self._random = simulation.world.random
        self._names = list(simulation.nodes)
        self._over = False
        self.faults: dict[str, int] = {}
        self._kinds: tuple[Callable[[], None], ...] = (
            self.agent_dies,
            self.agent_dies_over_an_action,
            self.host_dies,
            self.engine_dies,
            self.node_is_cut_off,
            self.zone_is_cut_off,
            self.network_is_bad,
            self.server_dies,
            self.commit_goes_wrong,
            self.commit_goes_wrong,
            self.store_is_away,
            self.starts_fail,
            self.starts_are_slow,
            self.container_exits,
            self.container_exits,
            self.watch_is_slow,
            self.store_is_compacted,
        )

    def run(self) -> None:
        """The hours, the calm after them, and that everything settles. Raises SimulationFailed."""
        self._plan_fault()
        self._plan_user()
        self.simulation.run_for(self._settings.hours * 3600)
        self.calm()
        self.simulation.run_until(self.simulation.settled, self._settings.settle_s)

    def calm(self) -> None:
        """No more faults; what is broken is mended, and every node takes instances."""
        self._over = True
        self._world.tell("all faults end")
        simulation = self.simulation
        simulation.store.away = False
        simulation.store.trap = None
        simulation.server.watch_delay_s = (0.001, 0.003)
        simulation.network.loss = simulation.network.repeat = 0.0
        simulation.network.delay_s = (0.001, 0.005)
        for node in simulation.nodes.values():
            while simulation.network.is_cut(node.name):
                simulation.network.mend(node.name)
            node.start_failures, node.slowness, node.agent_trap = 0.0, 1.0, None
            node.start_host()
            node.start_engine()
            node.start_agent()
        simulation.server.start()
        for name in self._names:
            self._stubbornly(lambda name=name: simulation.cordon(name, False))  # type: ignore[misc]

    def _stubbornly(self, action: Callable[[], None]) -> None:
        """Try until it is acknowledged."""
        try:
            action()
        except ServerDown:
            self._world.after(1.0, lambda: self._stubbornly(action))
        except KeyError:
            return

    def _plan_fault(self) -> None:
        self._world.after(self._random.expovariate(1 / self._settings.fault_every_s), self._fault)

    def _fault(self) -> None:
        if self._over:
            return
        self._plan_fault()
        kind = self._random.choice(self._kinds)
        name = kind.__name__
        self.faults[name] = self.faults.get(name, 0) + 1
        self._world.tell(f"fault: {name.replace('_', ' ')}")
        kind()

    def _node(self) -> SimNode:
        return self.simulation.nodes[self._random.choice(self._names)]

    def _later(self, low_s: float, high_s: float, heal: Callable[[], None]) -> None:
        """Heal after a while, unless all is healed already."""

        def unless_over() -> None:
            if not self._over:
                heal()

        self._world.after(self._random.uniform(low_s, high_s), unless_over)

    # --- faults ---

    def agent_dies(self) -> None:
        """The process; its containers go on."""
        node = self._node()
        node.kill_agent()
        self._later(0.5, 120.0, node.start_agent)

    def agent_dies_over_an_action(self) -> None:
        """Between deciding on several actions and having asked for all of them."""
        self._node().agent_trap = self._random.randrange(3)

    def host_dies(self) -> None:
        """Power off; it comes back with another idea of the time, perhaps without its disk."""
        node = self._node()
        if not node.up:
            return
        node.kill_host()
        node.skew_s = self._random.choice((0.0, 0.0, 3.0, -3.0, 600.0, -600.0))
        wiped = self._random.random() < 0.3
        self._later(5.0, 600.0, lambda: node.start_host(wiped=wiped))

    def engine_dies(self) -> None:
        """With its containers, or without."""
        node = self._node()
        if node.up:
            node.kill_engine(containers_too=self._random.random() < 0.5)
            self._later(1.0, 120.0, node.start_engine)

    def node_is_cut_off(self) -> None:
        """One node hears nothing and is not heard."""
        self._cut([self._random.choice(self._names)], self._random.uniform(1.0, 300.0))

    def zone_is_cut_off(self) -> None:
        """All nodes of a zone, or all there are."""
        zones = [*dict.fromkeys(self._zone(name) for name in self._names), None]
        zone = self._random.choice(zones)
        names = [name for name in self._names if zone is None or self._zone(name) == zone]
        self._cut(names, self._random.uniform(10.0, 300.0))

    def _zone(self, name: str) -> str:
        return self.simulation.nodes[name].status.labels.get("zone", "")

    def _cut(self, names: list[str], seconds: float) -> None:
        self._world.tell(f"cut off: {', '.join(names)}")
        for name in names:
            self.simulation.network.cut(name)
            self._later(seconds, seconds, lambda name=name: self.simulation.network.mend(name))  # type: ignore[misc]

    def network_is_bad(self) -> None:
        """Messages are lost, come late, or twice."""
        network = self.simulation.network
        network.loss = self._random.uniform(0.0, 0.5)
        network.repeat = self._random.uniform(0.0, 0.5)
        network.delay_s = (0.001, self._random.choice((0.01, 0.5, 5.0)))

        def heal() -> None:
            network.loss = network.repeat = 0.0
            network.delay_s = (0.001, 0.005)

        self._later(10.0, 300.0, heal)

    def server_dies(self) -> None:
        """kill -9."""
        self.simulation.server.kill()
        self._later(0.5, 90.0, self.simulation.server.start)

    def commit_goes_wrong(self) -> None:
        """One of the next transactions ends its process, or its answer is lost, before or after it is written."""
        self.simulation.store.trap = (self._random.randrange(6), self._random.choice(_TRAPS))

    def store_is_away(self) -> None:
        """It does not answer anybody."""
        store = self.simulation.store
        store.away = True

        def back() -> None:
            store.away = False

        self._later(1.0, 120.0, back)

    def starts_fail(self) -> None:
        """Half of the starts on a node."""
        node = self._node()
        node.start_failures = 0.5

        def heal() -> None:
            node.start_failures = 0.0

        self._later(30.0, 300.0, heal)

    def starts_are_slow(self) -> None:
        """Everything that an engine does takes long."""
        node = self._node()
        node.slowness = 40.0

        def heal() -> None:
            node.slowness = 1.0

        self._later(30.0, 300.0, heal)

    def container_exits(self) -> None:
        """A container's process ends by itself."""
        running = [(node, one) for node in self.simulation.nodes.values() for one in node.live()]
        if running:
            node, container = self._random.choice(running)
            node.exit(container.id, self._random.choice(_EXIT_CODES))

    def watch_is_slow(self) -> None:
        """The server decides from what was true seconds ago."""
        server = self.simulation.server
        server.watch_delay_s = (0.5, 3.0)

        def heal() -> None:
            server.watch_delay_s = (0.001, 0.003)

        self._later(10.0, 120.0, heal)

    def store_is_compacted(self) -> None:
        """A watch that is behind has to list anew."""
        items = self.simulation.store.inner.list("/newbon/")
        self.simulation.store.inner.compact(items[1])

    # --- users ---

    def _plan_user(self) -> None:
        self._world.after(self._random.expovariate(1 / self._settings.user_every_s), self._user)

    def _user(self) -> None:
        if self._over:
            return
        self._plan_user()
        simulation, random = self.simulation, self._random
        name = f"s{random.randrange(self._settings.services)}"
        present = simulation.service(name)
        choice = random.random()
        try:
            if present is None:
                self._tell_user(f"applies {name}")
                simulation.apply(self._service(name))
            elif choice < 0.3:
                # A fixed host port has room once per node, and there may be as few as two.
                replicas = random.randrange(3 if present.container.ports else 6)
                self._tell_user(f"scales {name} to {replicas}")
                simulation.scale(name, replicas)
            elif choice < 0.6:
                self._tell_user(f"updates {name}")
                simulation.apply(self._changed(present))
            elif choice < 0.75:
                self._tell_user(f"deletes {name}")
                simulation.delete(name)
            else:
                node, cordoned = random.choice(self._names), random.random() < 0.4
                self._tell_user(f"{'cordons' if cordoned else 'uncordons'} {node}")
                simulation.cordon(node, cordoned)
        except (ServerDown, KeyError) as error:
            self._tell_user(f"is refused: {error}")

    def _tell_user(self, what: str) -> None:
        self._world.tell(f"user {what}")

    def _service(self, name: str) -> Service:
        random = self._random
        policies: tuple[Literal["always", "on-failure", "never"], ...] = ("always", "always", "on-failure", "never")
        policy = random.choice(policies)
        command = ("sh", "-c", f"sleep {random.randrange(20, 900)}; exit 0") if policy != "always" else ()
        ports = (Port(name="http", port=80, host_port=8000 + int(name[1:])),) if random.random() < 0.15 else ()
        return Service(
            name=name,
            container=ContainerSpec(
                image="app",
                command=command,
                resources=Resources(cpu_millis=random.randrange(0, 400, 50), memory_bytes=random.randrange(512) * _MIB),
                ports=ports,
            ),
            replicas=random.randrange(1, 3 if ports else 6),
            schedule=Schedule(
                constraints=("node.labels.disk == ssd",) if random.random() < 0.25 and not ports else (),
                spread=("zone", "node"),
                priority=random.randrange(100),
            ),
            restart=Restart(policy=policy, backoff_s=1.0, max_backoff_s=60.0, reset_after_s=120.0),
            update=Update(parallelism=random.randrange(1, 4), order=random.choice(("start-first", "stop-first"))),
        )

    def _changed(self, service: Service) -> Service:
        version = str(self._random.randrange(10**6))
        return replace(service, container=replace(service.container, env={"VERSION": version}))


def run_chaos(seed: int, settings: ChaosSettings, nodes: int | None = None) -> Chaos:
    """One random schedule of faults from its seed to its settled end. Raises SimulationFailed."""
    simulation = Simulation(seed, nodes if nodes is not None else 2 + seed % 5)
    simulation.replay = f"newbon-sim --seeds 1 --seed {seed} --hours {settings.hours:g}"
    if nodes is not None:
        simulation.replay += f" --nodes {nodes}"
    chaos = Chaos(simulation, settings)
    chaos.run()
    return chaos
