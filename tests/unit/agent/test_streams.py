"""Carrying logs and commands: bounded, joined on the way, and always with an end."""

from __future__ import annotations

import base64
import queue
import time
from collections.abc import Callable

import pytest
from agent_builders import IMAGE, IMAGE_ID, order
from agent_fakes import FakeLink

from newbon_core.agent.streams import StreamCarrier
from newbon_core.hooks import Container, ContainerOrder
from newbon_core.model.wire import StreamInput, StreamRequest
from newbon_core.testing.runtime import FakeRuntime
from newbon_core.testing.runtime_conformance import wait_for


class Carried:
    """A carrier over one running container."""

    def __init__(self, script: str = "echo one; sleep 1000", limit: int = 8) -> None:
        self.link = FakeLink()
        self.runtime = FakeRuntime(time.time, images={IMAGE: IMAGE_ID})
        spec = order(0, command=("sh", "-c", script)).container
        made = ContainerOrder(uid="u", instance="web-0", service="web", revision=1, node="n1", spec=spec)
        self.container: Container = self.runtime.start(made, IMAGE_ID)
        found = ("docker", self.container)
        self.carrier = StreamCarrier(
            self.link, {"docker": self.runtime}, lambda uid: found if uid == "u" else None, limit
        )

    def ask(self, **request: object) -> None:
        asked = {"id": "s", "kind": "logs", "instance": "web-0", "uid": "u"} | request
        self.carrier.open(StreamRequest(**asked))  # type: ignore[arg-type]  given by the tests

    def say(self, **piece: object) -> None:
        self.link.inputs.setdefault("s", queue.SimpleQueue()).put(StreamInput(**piece))  # type: ignore[arg-type]  given by the tests

    def ended(self) -> Callable[[], bool]:
        return lambda: "s" in self.link.ends


def test_a_follow_goes_on_until_the_user_hangs_up() -> None:
    carried = Carried()
    carried.ask(follow=True)
    wait_for(lambda: carried.link.output.get("s") == b"one\n", "the line is carried")
    assert "s" not in carried.link.ends
    carried.say(closed=True)
    wait_for(carried.ended(), "it ends")


def test_a_follow_ends_when_nobody_reads() -> None:
    carried = Carried()
    carried.link.nobody_reads = True
    carried.ask(follow=True)
    wait_for(carried.ended(), "it ends")


def test_a_command_gets_input_sizes_and_its_end() -> None:
    carried = Carried()
    carried.ask(kind="exec", command=("cat",), stdin=True, tty=True)
    carried.say(data=base64.b64encode(b"hello").decode())
    carried.say(rows=50, columns=100)
    wait_for(lambda: carried.link.output.get("s") == b"hello", "the input comes back")
    carried.say(data="")
    wait_for(carried.ended(), "cat ends with its input")
    assert carried.link.ends["s"].exit_code == 0


def test_a_command_ends_when_its_user_hangs_up() -> None:
    carried = Carried()
    carried.ask(kind="exec", command=("cat",), stdin=True)
    carried.say(closed=True)
    wait_for(carried.ended(), "it ends")


def test_what_the_runtime_refuses_is_told_as_its_sentence() -> None:
    carried = Carried("exit 0")
    wait_for(lambda: carried.runtime.containers()[0].state == "exited", "it has ended")
    carried.ask(kind="exec", command=("true",))
    wait_for(carried.ended(), "it ends")
    assert "does not run" in (carried.link.ends["s"].error or "")


def test_only_so_many_streams_are_carried() -> None:
    carried = Carried(limit=1)
    carried.ask(id="s", follow=True)
    wait_for(lambda: "s" in carried.link.output, "the first is carried")
    carried.ask(id="t", follow=True)
    wait_for(lambda: "t" in carried.link.ends, "the second is refused")
    assert carried.link.ends["t"].error == "the agent carries 1 streams already, which is its limit"
    carried.carrier.close()
    wait_for(carried.ended(), "closing ends the first")


@pytest.mark.parametrize("lines", [5000])
def test_many_lines_travel_in_few_pieces(lines: int) -> None:
    posts: list[int] = []
    carried = Carried("; ".join(f"echo {number}" for number in range(lines)) + "; sleep 1000")
    send = carried.link.stream_output

    def counting(stream_id: str, data: bytes) -> bool:
        posts.append(len(data))
        time.sleep(0.002)
        return send(stream_id, data)

    carried.link.stream_output = counting  # type: ignore[method-assign]  to count
    carried.ask()
    wait_for(carried.ended(), "it ends")
    assert carried.link.output["s"].count(b"\n") == lines
    assert len(posts) < lines / 50
