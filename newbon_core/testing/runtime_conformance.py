"""What every container runtime must do: subclass RuntimeConformance in a plugin's tests and give it the fixtures.

The containers run ``sh -c "echo …; sleep …; exit …"`` (see FakeRuntime), so ``image`` needs a shell.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from newbon_core.hooks import Container, ContainerOrder, Runtime, RuntimeEvent, RuntimeFailure
from newbon_core.model import ContainerSpec, Port

DEADLINE_S = 20.0


def wait_for(condition: Callable[[], bool], what: str, within_s: float = DEADLINE_S) -> None:
    """Until it is true. Raises AssertionError with ``what`` after the deadline."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s:.0f} s: {what}"
        time.sleep(0.02)


class Starter:
    """Starts containers in a runtime and removes them all at the end."""

    def __init__(self, runtime: Runtime, image_id: str, image: str) -> None:
        self.runtime = runtime
        self._image_id = image_id
        self._image = image
        self._mine: set[str] = set()

    def order(self, script: str = "sleep 1000", *, ports: tuple[Port, ...] = (), **spec: Any) -> ContainerOrder:
        """An order of a new uid that runs the script."""
        uid = uuid.uuid4().hex
        self._mine.add(uid)
        container = ContainerSpec(image=self._image, command=("sh", "-c", script), ports=ports, **spec)
        return ContainerOrder(
            uid=uid, instance="conform-0", service="conform", revision=7, node="n1", owner="tests", spec=container
        )

    def start(self, script: str = "sleep 1000", **spec: Any) -> Container:
        """A started container."""
        return self.again(self.order(script, **spec))

    def again(self, order: ContainerOrder) -> Container:
        """The same order (again)."""
        return self.runtime.start(order, self._image_id)

    def mine(self) -> list[Container]:
        """Of all containers, those of this test."""
        return [container for container in self.runtime.list() if container.uid in self._mine]

    def ended(self, container: Container) -> Container:
        """Wait until the container has ended."""
        found: list[Container] = []

        def is_over() -> bool:
            now = self.runtime.inspect(container.id)
            if now is not None and now.state == "exited":
                found.append(now)
            return bool(found)

        wait_for(is_over, f"container {container.id} ends")
        return found[0]

    def clean(self) -> None:
        """Stop and remove what the test made."""
        for container in self.mine():
            self.runtime.stop(container.id, 0)
            self.runtime.remove(container.id)


class RuntimeConformance:
    """Fixtures to give: ``runtime`` (a Runtime) and ``image`` (a reference that is in the engine)."""

    @pytest.fixture
    def starter(self, runtime: Runtime, image: str) -> Iterator[Starter]:
        image_id = runtime.has_image(image)
        assert image_id is not None, f"the conformance suite needs image {image} in the engine"
        starter = Starter(runtime, image_id, image)
        yield starter
        starter.clean()

    def test_tells_its_version(self, runtime: Runtime) -> None:
        assert runtime.version()

    def test_a_started_container_runs_and_carries_its_names(self, starter: Starter) -> None:
        container = starter.start()
        assert (container.instance, container.service, container.revision) == ("conform-0", "conform", 7)
        assert (container.node, container.owner, container.state) == ("n1", "tests", "running")
        assert container.pid
        assert container.started_at
        assert [found.id for found in starter.mine()] == [container.id]

    def test_starting_the_same_uid_again_gives_the_same_container(self, starter: Starter) -> None:
        order = starter.order()
        assert starter.again(order).id == starter.again(order).id
        assert len(starter.mine()) == 1

    def test_a_container_that_ended_is_never_started_again(self, starter: Starter) -> None:
        order = starter.order("exit 3")
        ended = starter.ended(starter.again(order))
        assert ended.exit_code == 3
        assert ended.finished_at is not None
        again = starter.again(order)
        assert (again.id, again.state, again.started_at) == (ended.id, "exited", ended.started_at)

    def test_listing_follows_the_state(self, starter: Starter) -> None:
        container = starter.start()
        assert [found.state for found in starter.mine()] == ["running"]
        starter.runtime.stop(container.id, 0)
        assert [found.state for found in starter.mine()] == ["exited"]
        starter.runtime.remove(container.id)
        assert starter.mine() == []

    def test_stop_ends_it_and_can_be_repeated(self, starter: Starter) -> None:
        container = starter.start()
        stopped = starter.runtime.stop(container.id, 1)
        assert stopped is not None
        assert stopped.state == "exited"
        again = starter.runtime.stop(container.id, 1)
        assert again is not None
        assert again.finished_at == stopped.finished_at

    def test_what_is_gone_is_no_error(self, starter: Starter) -> None:
        container = starter.start("exit 0")
        starter.ended(container)
        starter.runtime.remove(container.id)
        starter.runtime.remove(container.id)
        assert starter.runtime.inspect(container.id) is None
        assert starter.runtime.stop(container.id, 1) is None

    def test_a_running_container_is_not_removed(self, starter: Starter) -> None:
        container = starter.start()
        with pytest.raises(RuntimeFailure):
            starter.runtime.remove(container.id)
        assert len(starter.mine()) == 1

    def test_an_image_is_found_by_reference_and_by_id(self, runtime: Runtime, image: str) -> None:
        image_id = runtime.has_image(image)
        assert image_id is not None
        assert runtime.has_image(image_id) == image_id
        assert runtime.has_image("localhost:1/no/such:image") is None

    def test_a_pull_that_fails_names_the_image(self, runtime: Runtime) -> None:
        told: list[str] = []
        with pytest.raises(RuntimeFailure, match="localhost:1/no/such:image"):
            runtime.pull("localhost:1/no/such:image", None, told.append)

    def test_a_host_port_of_zero_gets_a_free_one_under_its_name(self, starter: Starter) -> None:
        container = starter.start(ports=(Port(name="http", port=8080, host_port=0), Port(name="inner", port=9)))
        assert list(container.host_ports) == ["http"]
        assert container.host_ports["http"] > 0
        assert starter.mine()[0].host_ports == container.host_ports

    def test_logs_are_read_after_death_too(self, starter: Starter) -> None:
        container = starter.start("echo one; echo two; exit 0")
        starter.ended(container)
        read = starter.runtime.logs
        whole = b"".join(read(container.id, follow=False, tail=None, since=None, timestamps=False))
        assert whole == b"one\ntwo\n"
        assert b"".join(read(container.id, follow=False, tail=1, since=None, timestamps=False)) == b"two\n"
        stamped = b"".join(read(container.id, follow=False, tail=1, since=None, timestamps=True))
        assert stamped.endswith(b"two\n")
        assert len(stamped) > len(b"two\n")

    def test_a_follow_ends_with_the_container(self, starter: Starter) -> None:
        container = starter.start("echo one; sleep 0.2; exit 0")
        pieces = starter.runtime.logs(container.id, follow=True, tail=None, since=None, timestamps=False)
        assert b"".join(pieces) == b"one\n"

    def test_logs_of_a_container_that_is_gone_are_an_error(self, runtime: Runtime) -> None:
        with pytest.raises(RuntimeFailure, match="gone"):
            list(runtime.logs("0" * 64, follow=False, tail=None, since=None, timestamps=False))

    def test_a_command_gives_output_and_exit_code(self, starter: Starter) -> None:
        container = starter.start()
        session = starter.runtime.exec(
            container.id, ("sh", "-c", "echo hello; exit 4"), tty=False, stdin=False, rows=24, columns=80
        )
        output = b""
        while (piece := session.read(1.0)) is not None:
            output += piece
        assert output == b"hello\n"
        wait_for(lambda: session.exit_code() == 4, "the exit code is known")
        session.close()

    def test_a_command_takes_input_and_its_end(self, starter: Starter) -> None:
        container = starter.start()
        session = starter.runtime.exec(container.id, ("cat",), tty=False, stdin=True, rows=24, columns=80)
        session.write(b"to and fro\n")
        output = b""
        while not output.endswith(b"fro\n"):
            output += session.read(5.0) or b""
        assert output == b"to and fro\n"
        session.write(b"")
        while session.read(1.0) is not None:
            pass
        wait_for(lambda: session.exit_code() == 0, "cat ends with its input")
        session.close()

    def test_a_command_in_what_does_not_run_is_refused(self, starter: Starter) -> None:
        container = starter.start("exit 0")
        starter.ended(container)
        with pytest.raises(RuntimeFailure):
            starter.runtime.exec(container.id, ("true",), tty=False, stdin=False, rows=24, columns=80)

    def test_a_death_is_told_as_an_event(self, starter: Starter) -> None:
        events: list[RuntimeEvent] = []
        listening = threading.Event()

        def listen() -> None:
            for event in starter.runtime.events():
                events.append(event)
                listening.set()

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        assert listening.wait(DEADLINE_S), "a stream of events begins with one that says to look at all"
        assert events[0].container_id is None
        container = starter.start()
        starter.runtime.stop(container.id, 0)
        wait_for(lambda: any(event.container_id == container.id and event.kind == "die" for event in events), "die")
        starter.runtime.close()
        thread.join(DEADLINE_S)
        assert not thread.is_alive(), "close() ends the stream"
