"""A container runtime in memory: the whole Runtime protocol, with a clock, durations and failures to inject.

Commands are understood as a very small shell: ``sh -c "echo hello; sleep 5; exit 3"``; anything else runs until it is
stopped. Time passes by the injected clock: a container whose sleep is over has ended when it is looked at next, and
``advance`` emits the event.
"""

from __future__ import annotations

import queue
import shlex
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from newbon_core.hooks import (
    Container,
    ContainerOrder,
    RegistryCredentials,
    RuntimeEvent,
    RuntimeFailure,
)

FailureRule = Callable[[str, str], RuntimeFailure | None]
"""Given an operation's name (``start``) and its subject (uid, container id or image), the failure to raise, or None."""


@dataclass(slots=True)
class _Box:
    """One container of the fake. ``ends_at`` and ``code`` are what its command will do by itself."""

    container: Container
    order: ContainerOrder
    output: bytes = b""
    ends_at: float | None = None
    code: int = 0


@dataclass(frozen=True, slots=True)
class Program:
    """What a command does: writes ``output``, then ends after ``runs_s`` (None: never by itself) with ``code``."""

    output: bytes = b""
    runs_s: float | None = None
    code: int = 0


def program_of(order: ContainerOrder) -> Program:
    """The default interpretation of a container's command; see the module."""
    command = [*order.spec.command, *order.spec.args]
    if command[:2] != ["sh", "-c"] or len(command) != 3:
        return Program()
    output, slept = b"", 0.0
    for statement in command[2].split(";"):
        words = shlex.split(statement)
        if words[:1] == ["echo"]:
            output += " ".join(words[1:]).encode() + b"\n"
        elif words[:1] == ["sleep"]:
            slept += float(words[1])
        elif words[:1] == ["exit"]:
            return Program(output, slept, int(words[1]))
        elif words:
            return Program(output)
    return Program(output, slept, 0)


class FakeRuntime:
    """Implements ``newbon_core.hooks.Runtime``. Thread-safe.

    ``images`` are in the engine, ``registry`` can be pulled; both map references to ids. ``durations`` gives seconds
    per operation (``list``, ``inspect``, ``has_image``, ``pull``, ``start``, ``stop``, ``remove``): passed to
    ``sleep``, and told by ``duration_of`` to whoever runs a virtual clock instead. ``starts`` counts real starts
    by uid.
    """

    def __init__(
        self,
        clock: Callable[[], float] = lambda: 0.0,
        *,
        images: Mapping[str, str] | None = None,
        registry: Mapping[str, str] | None = None,
        durations: Mapping[str, float] | None = None,
        fails: FailureRule | None = None,
        program: Callable[[ContainerOrder], Program] = program_of,
        sleep: Callable[[float], None] | None = None,
        name: str = "fake",
    ) -> None:
        self.images = dict(images or {})
        self.registry = dict(registry or {})
        self.durations = dict(durations or {})
        self.fails = fails
        self.program = program
        self.away = False
        self.name = name
        self.starts: dict[str, int] = {}
        self.credentials_seen: list[RegistryCredentials | None] = []
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.RLock()
        self._boxes: dict[str, _Box] = {}
        self._made = 0
        self._events: list[RuntimeEvent] = []
        self._listeners: list[queue.SimpleQueue[RuntimeEvent | None]] = []

    # --- the Runtime protocol ---------------------------------------------------------------------------------------

    def version(self) -> str:
        """Always the same, while the engine answers."""
        self._enter("version", "")
        return "1.0-fake"

    def list(self) -> Sequence[Container]:
        """All containers, oldest first."""
        self._enter("list", "")
        with self._lock:
            self.advance()
            return tuple(box.container for box in self._boxes.values())

    def inspect(self, container_id: str) -> Container | None:
        """One container."""
        self._enter("inspect", container_id)
        with self._lock:
            self.advance()
            box = self._boxes.get(container_id)
            return box.container if box is not None else None

    def has_image(self, image: str) -> str | None:
        """By reference or id."""
        self._enter("has_image", image)
        with self._lock:
            return self.images.get(image) or (image if image in self.images.values() else None)

    def pull(self, image: str, credentials: RegistryCredentials | None, progress: Callable[[str], None]) -> str:
        """From ``registry`` to ``images``."""
        self._enter("pull", image)
        self.credentials_seen.append(credentials)
        progress(f"pulling {image}: 50 %")
        with self._lock:
            if image not in self.registry:
                raise RuntimeFailure(f"image {image} not found in its registry and not on this node")
            self.images[image] = self.registry[image]
            return self.images[image]

    def start(self, order: ContainerOrder, image_id: str) -> Container:
        """Create, unless one of this uid exists, and start, unless it ever ran."""
        self._enter("start", order.uid)
        with self._lock:
            self.advance()
            made = self.create(order, image_id)
            if made.state != "created":
                return made
            box = self._boxes[made.id]
            program = self.program(order)
            now = self._clock()
            self.starts[order.uid] = self.starts.get(order.uid, 0) + 1
            box.output = program.output
            box.code = program.code
            box.ends_at = None if program.runs_s is None else now + program.runs_s
            ports = {port.name: port.host_port or 32768 + self._made for port in order.spec.ports
                     if port.host_port is not None}  # fmt: skip
            box.container = replace(
                made, state="running", pid=1000 + self._made, started_at=now, host_ports=ports,
                address=f"172.17.{self._made // 250 % 250}.{self._made % 250 + 2}",
            )  # fmt: skip
            self._tell(made.id, "start")
            return box.container

    def create(self, order: ContainerOrder, image_id: str) -> Container:
        """The first half of ``start``: what a crash in the middle of it leaves behind."""
        with self._lock:
            for box in self._boxes.values():
                if box.container.uid == order.uid:
                    return box.container
            if image_id not in self.images.values():
                raise RuntimeFailure(f"image {image_id} is not on this node any more", retry=True)
            self._made += 1
            container = Container(
                id=f"{self.name}-{self._made:06d}", uid=order.uid, instance=order.instance, service=order.service,
                revision=order.revision, state="created", node=order.node, owner=order.owner, image_id=image_id,
            )  # fmt: skip
            self._boxes[container.id] = _Box(container, order)
            return container

    def stop(self, container_id: str, grace_s: float) -> Container | None:  # noqa: ARG002  obeys at once
        """Every command obeys at once."""
        self._enter("stop", container_id)
        with self._lock:
            self.advance()
            box = self._boxes.get(container_id)
            if box is not None and box.container.state == "running":
                self._end(box, 143, self._clock(), oom=False)
            return box.container if box is not None else None

    def remove(self, container_id: str) -> None:
        """A running one is refused, as engines do."""
        self._enter("remove", container_id)
        with self._lock:
            self.advance()
            box = self._boxes.get(container_id)
            if box is None:
                return
            if box.container.state == "running":
                raise RuntimeFailure(f"container {container_id} runs and cannot be removed")
            del self._boxes[container_id]
            self._tell(container_id, "destroy")

    def logs(
        self, container_id: str, *, follow: bool, tail: int | None, since: float | None, timestamps: bool
    ) -> Iterator[bytes]:
        """All that the command wrote; a follow goes on until the container ends."""
        self._enter("logs", container_id)
        box = self._boxes.get(container_id)
        if box is None:
            raise RuntimeFailure(f"container {container_id} is gone, and its logs with it")
        lines = box.output.splitlines(keepends=True)
        stamp = f"{box.container.started_at:.3f} ".encode() if timestamps and box.container.started_at else b""
        if since is not None and (box.container.started_at or 0.0) < since:
            lines = []
        for line in lines if tail is None else lines[max(0, len(lines) - tail) :]:
            yield stamp + line
        pause = threading.Event()
        while follow and (container := self.inspect(container_id)) is not None and container.state == "running":
            yield b""
            pause.wait(0.01)

    def exec(
        self, container_id: str, command: Sequence[str], *, tty: bool, stdin: bool, rows: int, columns: int
    ) -> FakeExec:
        """The same small shell, with or without a terminal; ``cat`` gives back its input."""
        del tty, stdin
        self._enter("exec", container_id)
        box = self._boxes.get(container_id)
        if box is None or box.container.state != "running":
            raise RuntimeFailure(f"container {container_id} does not run, so nothing can be run in it")
        spec = replace(box.order.spec, command=tuple(command), args=())
        program = program_of(replace(box.order, spec=spec))
        return FakeExec(program, echo=list(command) == ["cat"], size=(rows, columns))

    def events(self) -> Iterator[RuntimeEvent]:
        """Begins with one that says to look at all; blocks; ends when the engine goes away."""
        self._enter("events", "")
        listener: queue.SimpleQueue[RuntimeEvent | None] = queue.SimpleQueue()
        with self._lock:
            self._listeners.append(listener)
        yield RuntimeEvent(None, "connected")
        while (event := listener.get()) is not None:
            yield event

    def close(self) -> None:
        """Ends the event streams."""
        self._end_streams()

    # --- what tests and the simulator do to it ------------------------------------------------------------------------

    def duration_of(self, operation: str) -> float:
        """Seconds that an operation takes, for a virtual clock."""
        return self.durations.get(operation, 0.0)

    def exit(self, container_id: str, code: int = 1, *, oom: bool = False) -> None:
        """The container's process ends by itself."""
        with self._lock:
            box = self._boxes[container_id]
            if box.container.state == "running":
                self._end(box, code, self._clock(), oom=oom)

    def lose(self, container_id: str) -> None:
        """Somebody else removes the container, running or not."""
        with self._lock:
            del self._boxes[container_id]
            self._tell(container_id, "destroy")

    def kill_engine(self, *, containers_too: bool = True) -> None:
        """The engine goes away, and its containers with it unless told otherwise; ``away = False`` brings it back."""
        with self._lock:
            self.away = True
            if containers_too:
                for box in self._boxes.values():
                    if box.container.state == "running":
                        self._end(box, 137, self._clock(), oom=False)
            self._events.clear()
            self._end_streams()

    def containers(self) -> tuple[Container, ...]:
        """What really is there, whether the engine answers or not."""
        with self._lock:
            self.advance()
            return tuple(box.container for box in self._boxes.values())

    def take_events(self) -> tuple[RuntimeEvent, ...]:
        """Events since the last call, without blocking."""
        with self._lock:
            self.advance()
            events = tuple(self._events)
            self._events.clear()
            return events

    def advance(self) -> float | None:
        """End every container whose time is over; returns when the next one will end."""
        next_at: float | None = None
        with self._lock:
            now = self._clock()
            for box in self._boxes.values():
                if box.container.state != "running" or box.ends_at is None:
                    continue
                if box.ends_at <= now:
                    self._end(box, box.code, box.ends_at, oom=False)
                elif next_at is None or box.ends_at < next_at:
                    next_at = box.ends_at
        return next_at

    def _end(self, box: _Box, code: int, at: float, *, oom: bool) -> None:
        box.container = replace(
            box.container, state="exited", exit_code=code, finished_at=at, oom_killed=oom, pid=None, address=None
        )
        self._tell(box.container.id, "die")

    def _tell(self, container_id: str, kind: str) -> None:
        event = RuntimeEvent(container_id, kind)
        if not self.away:
            self._events.append(event)
            del self._events[:-1000]
        for listener in self._listeners:
            listener.put(event)

    def _end_streams(self) -> None:
        with self._lock:
            for listener in self._listeners:
                listener.put(None)
            self._listeners.clear()

    def _enter(self, operation: str, subject: str) -> None:
        if self._sleep is not None and (pause_s := self.duration_of(operation)) > 0:
            self._sleep(pause_s)
        if self.away:
            raise RuntimeFailure("the engine does not answer", retry=True)
        failure = self.fails(operation, subject) if self.fails is not None else None
        if failure is not None:
            raise failure


class FakeExec:
    """A command of FakeRuntime.exec."""

    def __init__(self, program: Program, *, echo: bool, size: tuple[int, int]) -> None:
        self.size = size
        self._output: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._echo = echo
        self._code: int | None = None
        if not echo:
            if program.output:
                self._output.put(program.output)
            self._finish(program.code)

    def read(self, timeout_s: float) -> bytes | None:
        """See ExecSession."""
        try:
            chunk = self._output.get(timeout=timeout_s)
        except queue.Empty:
            return b""
        if chunk is None:
            self._output.put(None)
        return chunk

    def write(self, data: bytes) -> None:
        """``cat`` gives it back."""
        if self._echo and data:
            self._output.put(data)
        elif self._echo:
            self._finish(0)

    def resize(self, rows: int, columns: int) -> None:
        """Remembered in ``size``."""
        self.size = (rows, columns)

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._code

    def close(self) -> None:
        """Ends it."""
        if self._code is None:
            self._finish(137)

    def _finish(self, code: int) -> None:
        self._code = code
        self._output.put(None)
