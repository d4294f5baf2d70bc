"""Whatever happens, in whatever order: a uid starts at most once, and in the end what runs is what is ordered."""

from __future__ import annotations

from dataclasses import replace

from agent_builders import Node, order
from hypothesis import given, settings
from hypothesis import strategies as st

from newbon_core.agent.actions import Failure, Result
from newbon_core.agent.workers import perform
from newbon_core.model import FINISHED, InstanceState
from newbon_core.model.wire import Order, OrdersUpdate

NUMBERS = st.integers(0, 3)
EVENTS = st.one_of(
    st.tuples(st.just("create"), NUMBERS),
    st.tuples(st.just("stop"), NUMBERS),
    st.tuples(st.just("delete"), NUMBERS),
    st.tuples(st.just("die"), NUMBERS),
    st.tuples(st.just("lose"), NUMBERS),
    st.tuples(st.just("finish"), NUMBERS),
    st.tuples(st.just("finish"), NUMBERS),
    st.tuples(st.just("half"), NUMBERS),
    st.tuples(st.just("unheard"), NUMBERS),
    st.tuples(st.just("crash"), NUMBERS),
    st.tuples(st.just("sync"), NUMBERS),
    st.tuples(st.just("deliver"), NUMBERS),
    st.tuples(st.just("engine"), NUMBERS),
    st.tuples(st.just("wait"), NUMBERS),
)


class World:
    """A node and what its server knows: instances, their last status, and orders as the server makes them."""

    def __init__(self) -> None:
        self.node = Node()
        self.instances: dict[str, Order] = {}
        self.finished: set[str] = set()
        self.ran: set[str] = set()
        self.made = 0

    def orders(self) -> OrdersUpdate:
        """As Fleet does: what has finished is never ordered running."""
        found = [replace(one, wanted="stopped") if one.uid in self.finished else one for one in self.instances.values()]
        return OrdersUpdate(revision=1, full=True, orders=tuple(found))

    def do(self, event: str, number: int) -> None:
        node = self.node
        known = list(self.instances.values())
        picked = known[number % len(known)] if known else None
        held = node.workers.held
        if event == "create" and self.made < 12:
            self.made += 1
            one = order(self.made, command=("sh", "-c", "exit 1") if number == 3 else ())
            self.instances[one.uid] = one
        elif event == "stop" and picked is not None:
            self.instances[picked.uid] = replace(picked, wanted="stopped")
        elif event == "delete" and picked is not None:
            del self.instances[picked.uid]
        elif event == "die" and node.runtime.containers():
            container = node.runtime.containers()[number % len(node.runtime.containers())]
            node.runtime.exit(container.id, 1)
            node.executor.look("docker", container.id)
        elif event == "lose" and any(c.uid in self.ran for c in node.runtime.containers()):
            # Somebody removes what the server knows to run, whether an agent sees it or not.
            lost = next(c for c in node.runtime.containers() if c.uid in self.ran)
            node.runtime.lose(lost.id)
            if number > 1:
                node.restart()
        elif event == "finish" and held:
            node.finish(held[number % len(held)])
        elif event == "half" and held:
            # The engine did it, and the agent died before it heard.
            perform(held[number % len(held)], {"docker": node.runtime})
            node.restart()
        elif event == "unheard" and held:
            # The engine did it, and its answer was lost.
            action = held.pop(number % len(held))
            perform(action, {"docker": node.runtime})
            node.executor.complete(Result(action, failure=Failure("no answer", retry=True)))
        elif event == "crash":
            node.restart()
        elif event == "sync":
            node.executor.accept(self.orders())
        elif event == "deliver":
            for status in node.executor.statuses():
                if status.state in FINISHED:
                    self.finished.add(status.uid)
                elif status.state == InstanceState.RUNNING:
                    self.ran.add(status.uid)
        elif event == "engine":
            if node.runtime.away:
                node.runtime.away = False
            else:
                node.runtime.kill_engine()
                node.executor.engine_away("docker", "gone")
        elif event == "wait":
            node.now += 10.0**number
        node.step()

    def check(self) -> None:
        containers = self.node.runtime.containers()
        assert len({container.uid for container in containers}) == len(containers), "two containers for one uid"
        assert all(count == 1 for count in self.node.runtime.starts.values()), "a uid was started twice"
        live = {container.uid for container in containers if container.state == "running"}
        over = {status.uid for status in self.node.executor.statuses() if status.state in FINISHED}
        assert not live & over, "finished, it says, but it runs"

    def calm(self) -> None:
        """Faults end; server and agent talk until nothing changes."""
        self.node.runtime.away = False
        for _ in range(3):
            self.node.executor.accept(self.orders())
            self.node.settle(60)
            self.do("deliver", 0)
        self.node.executor.accept(self.orders())
        self.node.settle(5000)


@settings(max_examples=150, deadline=None)
@given(st.lists(EVENTS, max_size=60))
def test_at_most_one_start_per_uid_and_convergence(events: list[tuple[str, int]]) -> None:
    world = World()
    for event, number in events:
        world.do(event, number)
        world.check()
    world.calm()
    world.check()
    wanted = {one.uid for one in world.orders().orders if one.wanted == "running"}
    running = {container.uid for container in world.node.runtime.containers() if container.state == "running"}
    assert running == wanted
    ordered = {one.uid for one in world.orders().orders}
    assert {container.uid for container in world.node.runtime.containers()} <= ordered
    assert {status.uid for status in world.node.executor.statuses()} <= ordered
