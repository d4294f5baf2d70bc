"""Builders for agent tests: orders, and a node whose workers do what they are asked only when the test says so."""

from __future__ import annotations

from dataclasses import dataclass, field

from newbon_core.agent.actions import Action
from newbon_core.agent.executor import Executor
from newbon_core.agent.plan import ExecutorSettings
from newbon_core.agent.workers import perform
from newbon_core.model import ContainerSpec, InstanceStatus, Resources
from newbon_core.model.wire import Order, OrdersUpdate
from newbon_core.testing.runtime import FakeRuntime

IMAGE = "newbon/test:1"
IMAGE_ID = "sha256:aaaa"


def order(number: int = 0, *, service: str = "web", wanted: str = "running", image: str = IMAGE,
          command: tuple[str, ...] = (), runtime: str = "docker", memory_bytes: int = 0) -> Order:  # fmt: skip
    return Order(
        name=f"{service}-{number}",
        uid=f"uid-{service}-{number}",
        service=service,
        revision=1,
        wanted=wanted,  # type: ignore[arg-type]  a literal, given as text for short tests
        container=ContainerSpec(
            image=image, command=command, runtime=runtime, resources=Resources(memory_bytes=memory_bytes)
        ),
    )


@dataclass
class HeldWorkers:
    """Keeps what was submitted until the test lets it happen."""

    held: list[Action] = field(default_factory=list)

    def submit(self, action: Action) -> None:
        self.held.append(action)


class Node:
    """An executor over a FakeRuntime, with a clock."""

    def __init__(self, *, settings: ExecutorSettings | None = None, runtime: FakeRuntime | None = None) -> None:
        self.now = 1000.0
        self.settings = settings or ExecutorSettings()
        self.runtime = runtime or FakeRuntime(images={IMAGE: IMAGE_ID})
        self.runtime._clock = lambda: self.now
        self.restart()

    def restart(self) -> None:
        """kill -9 and start again: only the engine remembers."""
        self.workers = HeldWorkers()
        self.executor = Executor("n1", ["docker"], self.workers, self.settings)

    def step(self) -> float | None:
        return self.executor.step(self.now)

    def finish(self, action: Action) -> None:
        """Do one held action and tell the executor."""
        self.workers.held.remove(action)
        self.executor.complete(perform(action, {"docker": self.runtime}, progress=self.executor.progress))

    def settle(self, seconds: float = 0.0) -> None:
        """Let everything happen until nothing is left to do; then the same after so many seconds."""
        end = self.now + seconds
        while True:
            wake = self._quiet()
            times = [time for time in (wake, self.runtime.advance()) if time is not None and time <= end]
            if not times:
                break
            self.now = max(self.now, min(times))
        self.now = end
        self._quiet()

    def _quiet(self) -> float | None:
        """Until nothing is left to do at this moment."""
        while True:
            for event in self.runtime.take_events():
                self.executor.look("docker", event.container_id)
            wake = self.step()
            if not self.workers.held:
                return wake
            for action in list(self.workers.held):
                self.finish(action)

    def order(self, *orders: Order, full: bool = True, withdrawn: tuple[str, ...] = ()) -> None:
        self.executor.accept(OrdersUpdate(revision=1, full=full, orders=orders, withdrawn=withdrawn))

    def status(self, order: Order) -> InstanceStatus:
        return next(status for status in self.executor.statuses() if status.uid == order.uid)

    def states(self) -> dict[str, str]:
        return {status.name: str(status.state) for status in self.executor.statuses()}

    def containers(self) -> dict[str, str]:
        return {container.instance: container.state for container in self.runtime.containers()}
