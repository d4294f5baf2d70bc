"""The agent as a whole, in threads, with a server and an engine in memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_builders import IMAGE, IMAGE_ID, order
from agent_fakes import FakeLink

from newbon_core.agent.identity import AgentError, Identity
from newbon_core.agent.main import RunningAgent
from newbon_core.config import AgentSettings
from newbon_core.model import Taint
from newbon_core.model.wire import OrdersUpdate, StreamRequest
from newbon_core.testing.runtime import FakeRuntime
from newbon_core.testing.runtime_conformance import wait_for

GPU = Taint(key="gpu", value="only")


class Bench:
    """An agent that can be killed and started again, its engine, and its server."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.link = FakeLink()
        self.runtime = FakeRuntime(time.time, images={IMAGE: IMAGE_ID})
        self.agent: RunningAgent | None = None

    def start(self) -> RunningAgent:
        identity = Identity(self.directory, "n1")
        identity.keep("id.secret")
        self.agent = RunningAgent(
            "n1", "http://127.0.0.1:1", None, identity, {"docker": self.runtime},
            AgentSettings(labels={"zone": "a"}, taints=(GPU,)), connect=self._connect,
        )  # fmt: skip
        self.agent.start()
        return self.agent

    def _connect(self, *_: object) -> FakeLink:
        return self.link

    def stop(self) -> None:
        if self.agent is not None:
            self.agent.stop()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.stop()


def full(*orders: object) -> OrdersUpdate:
    return OrdersUpdate(revision=1, full=True, orders=orders)  # type: ignore[arg-type]  orders of the builder


def test_it_registers_takes_orders_and_reports_what_runs(bench: Bench) -> None:
    bench.link.full = (full(order(0), order(1)),)
    assert bench.start().wait_connected(5)
    wait_for(lambda: bench.link.states() == {"web-0": "running", "web-1": "running"}, "both run")
    facts = bench.link.registered[0]
    assert (facts.name, facts.labels, facts.runtimes) == ("n1", {"zone": "a"}, {"docker": "1.0-fake"})
    assert facts.taints == (GPU,)
    assert facts.cpu_millis >= 1000
    wait_for(lambda: any(report.host is not None for report in bench.link.reports), "the host is measured")


def test_an_order_reaches_the_engine_within_milliseconds(bench: Bench) -> None:
    bench.link.full = (full(),)
    assert bench.start().wait_connected(5)
    delays = []
    for number in range(9):
        began = time.perf_counter()
        bench.link.send(OrdersUpdate(revision=2 + number, full=False, orders=(order(number),)))
        uid = order(number).uid
        while uid not in bench.runtime.starts:
            assert time.perf_counter() - began < 5
            time.sleep(0.0002)
        delays.append(time.perf_counter() - began)
    assert sorted(delays)[4] < 0.05


def test_a_death_is_reported_when_it_happens_not_with_the_next_heartbeat(bench: Bench) -> None:
    bench.link.heartbeat_s = 60.0
    bench.link.full = (full(order(0)),)
    bench.start()
    wait_for(lambda: bench.link.states() == {"web-0": "running"}, "it runs")
    bench.runtime.exit(bench.runtime.containers()[0].id, 3)
    wait_for(lambda: bench.link.states() == {"web-0": "failed"}, "the death is reported", within_s=5)
    assert bench.link.statuses[order(0).uid].message == "exit code 3"


def test_without_its_server_everything_goes_on_and_is_told_again_afterwards(bench: Bench) -> None:
    bench.link.full = (full(order(0), order(1)),)
    bench.start()
    wait_for(lambda: bench.link.states() == {"web-0": "running", "web-1": "running"}, "both run")
    bench.link.cut()
    bench.runtime.exit(next(c.id for c in bench.runtime.containers() if c.instance == "web-1"), 1)
    time.sleep(0.3)
    assert bench.link.states()["web-1"] == "running"
    reports = len(bench.link.reports)
    bench.link.down = False
    wait_for(lambda: bench.link.states() == {"web-0": "running", "web-1": "failed"}, "the death is told")
    wait_for(lambda: any(report.full for report in bench.link.reports[reports:]), "all is told after a reconnection")
    assert [c.state for c in bench.runtime.containers() if c.instance == "web-0"] == ["running"]


def test_a_new_agent_adopts_what_it_finds_and_removes_what_is_not_ordered(bench: Bench) -> None:
    bench.link.full = (full(order(0), order(1)),)
    bench.start()
    wait_for(lambda: bench.link.states() == {"web-0": "running", "web-1": "running"}, "both run")
    bench.stop()
    bench.link.full = (full(order(0)),)
    bench.start()
    wait_for(lambda: [c.instance for c in bench.runtime.containers()] == ["web-0"], "the orphan is removed")
    assert bench.runtime.starts[order(0).uid] == 1


def test_an_engine_that_dies_is_reported_and_used_again_when_it_is_back(bench: Bench) -> None:
    bench.link.full = (full(order(0)),)
    bench.start()
    wait_for(lambda: bench.link.states() == {"web-0": "running"}, "it runs")
    bench.runtime.kill_engine()
    wait_for(lambda: "docker" in bench.link.reports[-1].runtime_errors, "the error is reported")
    bench.runtime.away = False
    wait_for(lambda: not bench.link.reports[-1].runtime_errors, "the engine is back")
    wait_for(lambda: bench.link.states() == {"web-0": "failed"}, "what it took along is reported")
    bench.link.send(OrdersUpdate(revision=2, full=False, orders=(order(1),)))
    wait_for(lambda: bench.link.states().get("web-1") == "running", "it starts containers again")


def test_logs_and_commands_are_carried(bench: Bench) -> None:
    bench.link.full = (full(order(0, command=("sh", "-c", "echo one; echo two; sleep 1000"))),)
    bench.start()
    wait_for(lambda: bench.link.states() == {"web-0": "running"}, "it runs")
    bench.link.send(StreamRequest(id="a", kind="logs", instance="web-0", uid=order(0).uid))
    wait_for(lambda: "a" in bench.link.ends, "the logs end")
    assert bench.link.output["a"] == b"one\ntwo\n"
    bench.link.send(
        StreamRequest(id="b", kind="exec", instance="web-0", uid=order(0).uid, command=("sh", "-c", "echo x; exit 7"))
    )
    wait_for(lambda: "b" in bench.link.ends, "the command ends")
    assert (bench.link.output["b"], bench.link.ends["b"].exit_code) == (b"x\n", 7)
    bench.link.send(StreamRequest(id="c", kind="logs", instance="web-9", uid="unknown"))
    wait_for(lambda: "c" in bench.link.ends, "what cannot be carried ends too")
    assert bench.link.ends["c"].error == "instance web-9 has no container on this node"


def test_only_one_agent_of_a_node_uses_a_data_directory(bench: Bench) -> None:
    bench.start()
    with pytest.raises(AgentError, match="another agent of node n1 runs"):
        Identity(bench.directory, "n1")


def test_the_token_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    identity = Identity(tmp_path, "n1")
    identity.keep("id.secret")
    assert (tmp_path / "agent-n1.token").stat().st_mode & 0o777 == 0o600
    owner = identity.owner
    identity.close()
    again = Identity(tmp_path, "n1")
    assert (again.owner, again.token) == (owner, "id.secret")
    again.close()
