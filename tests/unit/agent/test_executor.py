"""What an agent does with orders, read as the specification."""

from __future__ import annotations

from dataclasses import replace

from agent_builders import IMAGE, IMAGE_ID, Node, order

from newbon_core.agent.actions import (
    EnsureImage,
    Failure,
    Result,
    StartContainer,
    StopContainer,
)
from newbon_core.agent.plan import ExecutorSettings
from newbon_core.agent.workers import perform
from newbon_core.hooks import RuntimeFailure
from newbon_core.model import InstanceState
from newbon_core.testing.runtime import FakeRuntime

MIB = 2**20


class TestStarting:
    def test_what_is_ordered_runs_and_is_reported(self) -> None:
        node = Node()
        node.order(order(0))
        node.settle()
        status = node.status(order(0))
        assert (status.state, status.node, status.image_id) == (InstanceState.RUNNING, "n1", IMAGE_ID)
        assert status.address
        assert status.started_at == node.now

    def test_two_start_at_a_time_the_oldest_order_first(self) -> None:
        node = Node()
        node.order(*(order(number) for number in range(5)))
        node.step()
        for action in list(node.workers.held):
            node.finish(action)
        node.step()
        node.finish(next(action for action in node.workers.held if isinstance(action, EnsureImage)))
        node.step()
        starting = [action.order.instance for action in node.workers.held if isinstance(action, StartContainer)]
        assert starting == ["web-0", "web-1"]
        node.finish(node.workers.held[1])
        node.step()
        starting = [action.order.instance for action in node.workers.held if isinstance(action, StartContainer)]
        assert starting == ["web-0", "web-2"]

    def test_an_image_that_is_here_is_never_pulled(self) -> None:
        node = Node(runtime=FakeRuntime(images={IMAGE: IMAGE_ID}, fails=no_pull))
        node.order(order(0))
        node.settle()
        assert node.states() == {"web-0": "running"}

    def test_one_pull_serves_all_who_wait_for_it(self) -> None:
        node = Node(runtime=FakeRuntime(registry={IMAGE: IMAGE_ID}))
        node.order(*(order(number) for number in range(4)))
        node.step()
        node.finish(node.workers.held[0])
        node.step()
        assert node.workers.held == [EnsureImage("docker", IMAGE)]
        node.executor.progress(EnsureImage("docker", IMAGE), "pulling 1 of 3 layers")
        node.step()
        assert set(node.states().values()) == {"pulling"}
        assert node.status(order(3)).message == "pulling 1 of 3 layers"
        node.settle()
        assert set(node.states().values()) == {"running"}

    def test_an_image_that_does_not_exist_fails_the_instance(self) -> None:
        node = Node()
        node.order(order(0, image="no/such:1"))
        node.settle(100)
        status = node.status(order(0))
        assert status.state == InstanceState.FAILED
        assert status.message == "image no/such:1 not found in its registry and not on this node"

    def test_a_registry_that_is_away_is_tried_again_and_given_up_in_the_end(self) -> None:
        node = Node(runtime=FakeRuntime(fails=lambda operation, _: registry_away if operation == "pull" else None))
        node.order(order(0))
        node.settle()
        assert node.status(order(0)).state == InstanceState.PULLING
        assert node.status(order(0)).message == "the registry does not answer; tried again in 1 s"
        node.settle(100)
        assert (node.status(order(0)).state, node.status(order(0)).message) == (
            "failed",
            "the registry does not answer",
        )

    def test_a_start_that_may_work_later_is_tried_again(self) -> None:
        failures = [RuntimeFailure("host port 80 is taken on this node", retry=True)] * 2
        node = Node(
            runtime=FakeRuntime(
                images={IMAGE: IMAGE_ID},
                fails=lambda operation, _: failures.pop() if operation == "start" and failures else None,
            )
        )
        node.order(order(0))
        node.settle()
        status = node.status(order(0))
        assert (status.state, status.message) == (
            InstanceState.STARTING,
            "host port 80 is taken on this node; tried again in 1 s",
        )
        node.settle(1)
        assert node.status(order(0)).message == "host port 80 is taken on this node; tried again in 2 s"
        node.settle(5)
        assert node.states() == {"web-0": "running"}

    def test_a_runtime_that_is_not_here_fails_the_instance_and_says_what_is(self) -> None:
        node = Node()
        node.order(order(0, runtime="podman"))
        node.settle()
        assert node.status(order(0)).message == "runtime 'podman' is not on this node, which has docker"


def no_pull(operation: str, subject: str) -> RuntimeFailure | None:
    assert operation != "pull", subject
    return None


registry_away = RuntimeFailure("the registry does not answer", retry=True)


class TestEnding:
    def test_an_instance_that_ends_is_reported_with_its_exit_code_and_never_started_again(self) -> None:
        node = Node()
        node.order(order(0, command=("sh", "-c", "sleep 5; exit 3")), order(1, command=("sh", "-c", "exit 0")))
        node.settle(600)
        assert node.states() == {"web-0": "failed", "web-1": "stopped"}
        assert (node.status(order(0)).exit_code, node.status(order(0)).message) == (3, "exit code 3")
        assert node.runtime.starts == {"uid-web-0": 1, "uid-web-1": 1}

    def test_an_end_while_the_engine_was_away_counts_as_a_failure_whatever_the_engine_says(self) -> None:
        node = Node()
        node.order(order(0), order(1), order(2))
        node.settle()
        ids = {container.instance: container.id for container in node.runtime.containers()}
        node.runtime.kill_engine(containers_too=False)
        node.executor.engine_away("docker", "the engine does not answer")
        node.settle(3)
        node.runtime.exit(ids["web-0"], 0)
        node.runtime.exit(ids["web-1"], 3)
        node.runtime.away = False
        node.settle(3)
        assert node.states() == {"web-0": "failed", "web-1": "failed", "web-2": "running"}
        assert node.status(order(0)).message == "its engine ended it: the engine was away"
        assert node.status(order(1)).message == "exit code 3"
        node.runtime.exit(ids["web-2"], 0)
        node.settle(1)
        assert node.status(order(2)).state == InstanceState.STOPPED, "it was seen to run after the engine's return"

    def test_what_was_told_to_stop_is_stopped_though_its_engine_was_away(self) -> None:
        node = Node()
        node.order(order(0))
        node.settle()
        node.runtime.kill_engine(containers_too=False)
        node.executor.engine_away("docker", "the engine does not answer")
        node.order(order(0, wanted="stopped"))
        node.runtime.exit(node.runtime.containers()[0].id, 0)
        node.runtime.away = False
        node.settle(3)
        assert node.states() == {"web-0": "stopped"}

    def test_out_of_memory_is_told_with_the_limit(self) -> None:
        node = Node()
        node.order(order(0, memory_bytes=64 * MIB))
        node.settle()
        node.runtime.exit(node.runtime.containers()[0].id, 137, oom=True)
        node.settle(1)
        assert node.status(order(0)).message == "exit code 137: out of memory (limit 64 MiB)"
        assert node.status(order(0)).oom_killed

    def test_a_death_while_the_start_is_still_being_told_is_not_missed(self) -> None:
        node = Node()
        node.order(order(0))
        node.step()
        node.finish(node.workers.held[0])
        node.step()
        node.finish(node.workers.held[0])
        node.step()
        start = node.workers.held[0]
        assert isinstance(start, StartContainer)
        container = node.runtime.start(start.order, start.image_id)
        node.runtime.exit(container.id, 9)
        node.executor.look("docker", container.id)
        node.step()
        node.workers.held.clear()
        node.executor.complete(Result(start, container=container))
        node.settle(1)
        assert node.states() == {"web-0": "failed"}

    def test_a_container_that_somebody_removed_has_failed_and_is_not_made_again(self) -> None:
        node = Node()
        node.order(order(0))
        node.settle()
        node.runtime.lose(node.runtime.containers()[0].id)
        node.settle(1)
        assert node.status(order(0)).message == "its container was removed from the engine, not by Newbon"
        node.settle(600)
        assert node.runtime.starts == {"uid-web-0": 1}

    def test_without_events_the_regular_listing_finds_it(self) -> None:
        node = Node()
        node.order(order(0))
        node.settle()
        node.runtime.exit(node.runtime.containers()[0].id, 1)
        node.runtime.take_events()
        node.settle(node.settings.relist_s + 1)
        assert node.states() == {"web-0": "failed"}


class TestStopping:
    def test_stopped_means_asked_to_stop_reported_and_kept_for_its_logs(self) -> None:
        node = Node()
        node.order(order(0))
        node.settle()
        node.order(order(0, wanted="stopped"), full=False)
        node.step()
        assert node.states() == {"web-0": "stopping"}
        assert node.workers.held == [StopContainer("docker", "uid-web-0", node.runtime.containers()[0].id, 10.0)]
        node.settle()
        assert node.states() == {"web-0": "stopped"}
        assert node.containers() == {"web-0": "exited"}

    def test_finished_containers_are_kept_by_number_and_age(self) -> None:
        node = Node(settings=ExecutorSettings(keep_finished=2, keep_finished_s=100))
        node.order(*(order(number) for number in range(4)), order(0, service="db"))
        node.settle()
        for number in range(4):
            node.settle(1)
            node.order(order(number, wanted="stopped"), full=False)
            node.settle()
        node.order(order(0, service="db", wanted="stopped"), full=False)
        node.settle()
        assert set(node.containers()) == {"web-2", "web-3", "db-0"}
        assert set(node.states().values()) == {"stopped"}
        assert len(node.states()) == 5
        node.settle(200)
        assert node.containers() == {}

    def test_the_proof_that_it_ran_is_kept_for_as_long_as_it_is_ordered_running(self) -> None:
        node = Node(settings=ExecutorSettings(keep_finished=0, keep_finished_s=1))
        node.order(order(0, command=("sh", "-c", "exit 1")))
        node.settle(5000)
        assert node.containers() == {"web-0": "exited"}
        node.restart()
        node.order(order(0))
        node.settle(5000)
        assert node.runtime.starts == {"uid-web-0": 1}

    def test_an_order_to_stop_what_never_was_here_is_done_at_once(self) -> None:
        node = Node()
        node.order(order(0, wanted="stopped"))
        node.settle()
        assert node.states() == {"web-0": "stopped"}
        assert node.runtime.starts == {}

    def test_before_the_engine_was_looked_at_nothing_is_said_to_be_gone(self) -> None:
        node = Node()
        node.order(order(0))
        node.settle()
        node.restart()
        node.order(order(0, wanted="stopped"))
        node.step()
        assert node.states() == {}
        node.settle()
        assert (node.states(), node.containers()) == ({"web-0": "stopped"}, {"web-0": "exited"})

    def test_after_a_start_without_an_answer_nothing_is_said_to_be_gone(self) -> None:
        node = Node()
        node.order(order(0))
        while not any(isinstance(action, StartContainer) for action in node.workers.held):
            for action in list(node.workers.held):
                node.finish(action)
            node.step()
        start = node.workers.held.pop()
        perform(start, {"docker": node.runtime})
        node.executor.complete(Result(start, failure=Failure("no answer", retry=True)))
        node.order(order(0, wanted="stopped"))
        node.step()
        assert node.states() == {"web-0": "stopping"}
        node.settle()
        assert (node.states(), node.containers()) == ({"web-0": "stopped"}, {"web-0": "exited"})

    def test_what_is_withdrawn_goes_and_nothing_is_reported_of_it(self) -> None:
        node = Node()
        node.order(order(0), order(1))
        node.settle()
        node.order(full=False, withdrawn=("uid-web-0",))
        node.settle()
        assert node.containers() == {"web-1": "running"}
        assert node.states() == {"web-1": "running"}

    def test_withdrawn_in_the_middle_of_its_start_it_goes_too(self) -> None:
        node = Node()
        node.order(order(0))
        while not any(isinstance(action, StartContainer) for action in node.workers.held):
            for action in list(node.workers.held):
                node.finish(action)
            node.step()
        node.order(full=False, withdrawn=("uid-web-0",))
        node.settle()
        assert node.containers() == {}

    def test_a_stop_that_fails_is_tried_again_ever_more_slowly(self) -> None:
        tries: list[str] = []

        def fails(operation: str, subject: str) -> RuntimeFailure | None:
            if operation == "stop":
                tries.append(subject)
                return RuntimeFailure("the container does not react")
            return None

        node = Node()
        node.order(order(0))
        node.settle()
        node.runtime.fails = fails
        node.order(order(0, wanted="stopped"))
        node.settle(60)
        assert 5 <= len(tries) <= 8
        node.runtime.fails = None
        node.settle(60)
        assert node.states() == {"web-0": "stopped"}

    def test_what_has_ended_and_is_started_by_somebody_else_is_stopped_again(self) -> None:
        node = Node()
        node.order(order(0))
        node.settle()
        container = node.runtime.containers()[0]
        node.runtime.exit(container.id, 1)
        node.settle()
        box = node.runtime._boxes[container.id]
        box.container = replace(box.container, state="running", exit_code=None)
        node.executor.look("docker", container.id)
        node.settle()
        assert node.containers() == {"web-0": "exited"}
        assert node.states() == {"web-0": "failed"}
