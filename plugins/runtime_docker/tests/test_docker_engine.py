"""The Docker runtime against the engine of this machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import docker
import pytest
from newbon_runtime_docker import DockerRuntime

from newbon_core.hooks import ContainerOrder, RuntimeFailure
from newbon_core.model import Mount, Port, Resources
from newbon_core.testing.images import ensure_test_image
from newbon_core.testing.runtime_conformance import RuntimeConformance, Starter, wait_for

pytestmark = pytest.mark.docker
URL = "unix:///var/run/docker.sock"


@pytest.fixture(scope="module")
def image() -> str:
    return ensure_test_image(URL)


@pytest.fixture
def runtime() -> Iterator[DockerRuntime]:
    runtime = DockerRuntime({"base_url": URL})
    yield runtime
    runtime.close()


class TestDockerRuntime(RuntimeConformance):
    def test_limits_and_privileges_reach_the_engine(self, starter: Starter) -> None:
        container = starter.start(
            resources=Resources(cpu_millis=250, memory_bytes=64 * 2**20, cpu_limit_millis=500),
            user="nobody", working_dir="/tmp", read_only=True, capabilities_drop=("ALL",), stop_signal="SIGKILL",
            mounts=(Mount(path="/scratch"), Mount(path="/host", host_path="/tmp", read_only=True)),
            runtime_options={"log_max_size": "1m", "shm_size": "8m", "init": True, "extra_hosts": {"db": "10.0.0.1"}},
        )  # fmt: skip
        host = docker.APIClient(base_url=URL).inspect_container(container.id)["HostConfig"]
        assert (host["NanoCpus"], host["Memory"], host["CpuShares"]) == (500_000_000, 64 * 2**20, 256)
        assert host["ReadonlyRootfs"]
        assert host["Init"]
        assert host["SecurityOpt"] == ["no-new-privileges"]
        assert host["LogConfig"]["Config"] == {"max-size": "1m", "max-file": "2"}
        assert host["ShmSize"] == 8 * 2**20

    def test_out_of_memory_is_told(self, starter: Starter) -> None:
        container = starter.start(
            "tail /dev/zero", resources=Resources(memory_limit_bytes=16 * 2**20, cpu_limit_millis=1000)
        )
        ended = starter.ended(container)
        assert ended.oom_killed
        assert ended.exit_code == 137

    def test_a_taken_host_port_is_a_sentence_and_leaves_nothing(self, starter: Starter) -> None:
        first = starter.start(ports=(Port(name="http", port=8080, host_port=0),))
        port = first.host_ports["http"]
        with pytest.raises(RuntimeFailure, match=f"host port {port} is taken on this node") as caught:
            starter.start(ports=(Port(name="http", port=8080, host_port=port),))
        assert caught.value.retry
        assert [container.id for container in starter.mine()] == [first.id]

    def test_a_program_that_is_not_in_the_image_is_a_sentence_and_final(self, starter: Starter) -> None:
        order = starter.order()
        broken = ContainerOrder(
            uid=order.uid, instance="conform-1", service="conform", revision=1, node="n1",
            spec=type(order.spec)(image=order.spec.image, command=("/no/such/program",)),
        )  # fmt: skip
        with pytest.raises(RuntimeFailure, match="the image has no program '/no/such/program'") as caught:
            starter.again(broken)
        assert not caught.value.retry
        assert starter.mine() == []

    def test_a_start_of_its_own_is_no_news_and_one_by_another_is(self, starter: Starter) -> None:
        told: set[tuple[str | None, str]] = set()

        def listen() -> None:
            for event in starter.runtime.events():
                told.add((event.container_id, event.kind))

        threading.Thread(target=listen, daemon=True).start()
        wait_for(lambda: bool(told), "the stream of events begins")
        container = starter.start()
        starter.runtime.stop(container.id, 0)
        wait_for(lambda: (container.id, "die") in told, "its death is told")
        assert (container.id, "start") not in told
        docker.APIClient(base_url=URL).start(container.id)
        wait_for(lambda: (container.id, "start") in told, "the start by another is told")

    def test_a_container_without_our_labels_does_not_exist_for_us(self, runtime: DockerRuntime, image: str) -> None:
        api = docker.APIClient(base_url=URL)
        foreign = api.create_container(image, command=["sleep", "1"], entrypoint="")["Id"]
        try:
            assert runtime.inspect(foreign) is None
            assert foreign not in [container.id for container in runtime.list()]
        finally:
            api.remove_container(foreign)

    def test_the_test_image_serves_a_page_and_stops_at_once(self, starter: Starter, runtime: DockerRuntime) -> None:
        order = starter.order(ports=(Port(name="http", port=8080, host_port=0),))
        order = ContainerOrder(
            uid=order.uid, instance="web-0", service="web", revision=1, node="n1", env={"NEWBON_INSTANCE": "web-0"},
            spec=type(order.spec)(image=order.spec.image, ports=order.spec.ports),
        )  # fmt: skip
        container = starter.again(order)

        def page() -> bytes:
            session = runtime.exec(
                container.id, ("wget", "-q", "-O", "-", "http://127.0.0.1:8080/"),
                tty=False, stdin=False, rows=1, columns=1,
            )  # fmt: skip
            output = b""
            while (piece := session.read(5.0)) is not None:
                output += piece
            session.close()
            return output

        wait_for(lambda: b"<h1>web-0</h1>" in page(), "the page is served")
        began = time.monotonic()
        runtime.stop(container.id, 10)
        assert time.monotonic() - began < 3.0

    def test_a_terminal_has_its_size(self, starter: Starter, runtime: DockerRuntime) -> None:
        container = starter.start()
        session = runtime.exec(
            container.id, ("sh", "-c", "read x; stty size"), tty=True, stdin=True, rows=40, columns=132
        )
        session.resize(41, 133)
        session.write(b"\n")
        output = b""
        while (piece := session.read(2.0)) is not None:
            output += piece
        assert b"41 133" in output
        session.close()


def test_an_engine_that_is_not_there_is_a_sentence_and_may_pass() -> None:
    runtime = DockerRuntime({"base_url": "unix:///no/such/docker.sock"})
    with pytest.raises(RuntimeFailure, match=r"unix:///no/such/docker\.sock does not answer: No such file") as caught:
        runtime.version()
    assert caught.value.retry
