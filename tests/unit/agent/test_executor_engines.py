"""What an agent finds on its node, and what it does about engines that end, hang or tell of the unknown."""

from __future__ import annotations

from dataclasses import replace

from agent_builders import IMAGE, IMAGE_ID, Node, order

from newbon_core.agent.actions import (
    ListContainers,
    LookAt,
    Ping,
    Result,
)
from newbon_core.agent.executor import Executor
from newbon_core.hooks import ContainerOrder
from newbon_core.model import ContainerSpec, InstanceState


def foreign(owner: str = "", node: str = "n1", uid: str = "uid-x") -> ContainerOrder:
    return ContainerOrder(
        uid=uid, instance="x-0", service="x", revision=1, node=node, owner=owner, spec=ContainerSpec(image=IMAGE)
    )


class TestAdopting:
    def test_a_new_agent_finds_its_containers_and_starts_nothing_twice(self) -> None:
        node = Node()
        node.order(order(0), order(1))
        node.settle()
        node.restart()
        node.order(order(0), order(1))
        node.settle()
        assert node.states() == {"web-0": "running", "web-1": "running"}
        assert node.runtime.starts == {"uid-web-0": 1, "uid-web-1": 1}

    def test_before_all_orders_are_known_nothing_is_removed_nor_reported(self) -> None:
        node = Node()
        node.order(order(0))
        node.settle()
        node.restart()
        node.settle(600)
        assert node.containers() == {"web-0": "running"}
        assert node.states() == {}
        assert not node.executor.settled
        node.order(order(1), full=False)
        node.settle(600)
        assert node.containers() == {"web-0": "running", "web-1": "running"}
        node.order(order(1))
        node.settle()
        assert node.containers() == {"web-1": "running"}
        assert node.executor.settled

    def test_a_start_cut_in_the_middle_is_finished(self) -> None:
        node = Node()
        node.runtime.create(
            ContainerOrder(
                uid="uid-web-0", instance="web-0", service="web", revision=1, node="n1", spec=order(0).container
            ),
            IMAGE_ID,
        )
        node.order(order(0))
        node.settle()
        assert node.containers() == {"web-0": "running"}
        assert len(node.runtime.containers()) == 1

    def test_a_container_that_was_lost_while_no_agent_ran_is_not_made_again(self) -> None:
        node = Node()
        for listed_first in (False, True):
            node.restart()
            if listed_first:
                node.settle()
            node.order(replace(order(0), begun=True), replace(order(1), begun=False))
            node.settle(100)
            assert node.status(order(0)).state == InstanceState.FAILED
            assert node.status(order(1)).state == InstanceState.RUNNING
        assert node.runtime.starts == {"uid-web-1": 1}

    def test_an_adopted_container_is_known_to_have_started_and_runs_on(self) -> None:
        node = Node()
        node.order(order(0))
        node.settle()
        node.restart()
        node.order(replace(order(0), begun=True))
        node.step()
        assert node.states() == {}
        node.settle(100)
        assert node.states() == {"web-0": "running"}

    def test_containers_of_another_agent_or_node_on_the_same_engine_are_not_touched(self) -> None:
        node = Node()
        node.executor = Executor("n1", ["docker"], node.workers, owner="me")
        node.runtime.start(foreign(owner="another", uid="uid-a"), IMAGE_ID)
        node.runtime.start(foreign(owner="me", node="n2", uid="uid-b"), IMAGE_ID)
        node.runtime.start(foreign(owner="me", uid="uid-c"), IMAGE_ID)
        node.order()
        node.settle()
        assert [container.uid for container in node.runtime.containers()] == ["uid-a", "uid-b"]


class TestEngines:
    def test_a_listing_older_than_a_start_does_not_make_the_container_vanish(self) -> None:
        node = Node()
        node.order(order(0))
        node.settle()
        node.order(order(1), full=False)
        node.executor.look("docker")
        node.step()
        listing = next(action for action in node.workers.held if isinstance(action, ListContainers))
        before = tuple(node.runtime.list())
        node.workers.held.remove(listing)
        while node.states().get("web-1") != "running":
            for action in list(node.workers.held):
                node.finish(action)
            node.step()
        node.executor.complete(Result(listing, containers=before))
        node.step()
        assert node.states() == {"web-0": "running", "web-1": "running"}

    def test_nothing_is_done_in_an_engine_that_is_away(self) -> None:
        node = Node()
        node.settle()
        node.runtime.kill_engine()
        node.executor.engine_away("docker", "its stream of events ended")
        node.order(order(0))
        node.settle(60)
        assert node.executor.runtime_errors == {"docker": "the engine does not answer"}
        assert node.states() == {}
        node.runtime.away = False
        node.settle(2)
        assert node.executor.runtime_errors == {}
        assert node.states() == {"web-0": "running"}

    def test_containers_that_died_with_their_engine_are_reported_when_it_is_back(self) -> None:
        node = Node()
        node.order(order(0))
        node.settle()
        node.runtime.kill_engine()
        node.executor.engine_away("docker", "gone")
        node.settle(10)
        assert node.states() == {"web-0": "running"}
        node.runtime.away = False
        node.settle(2)
        assert node.status(order(0)).message == "exit code 137: ended by SIGKILL"

    def test_a_step_without_news_asks_for_nothing(self) -> None:
        node = Node()
        node.order(order(0))
        node.settle()
        node.executor.take_changed()
        for _ in range(3):
            node.step()
        assert node.workers.held == []
        assert node.executor.take_changed() == ()


class TestAnUnknownContainer:
    def test_a_start_that_outlives_its_agent_is_found_by_its_event(self) -> None:
        node = Node()
        node.order(order(0, wanted="stopped"))
        node.settle(2)
        late = ContainerOrder(
            uid=order(0).uid, instance="web-0", service="web", revision=1, node="n1", spec=order(0).container
        )
        node.runtime.start(late, IMAGE_ID)
        node.settle()
        assert node.containers() == {"web-0": "exited"}

    def test_many_of_them_cost_one_listing_a_second(self) -> None:
        node = Node()
        node.settle(2)
        listings = 0
        for number in range(10):
            node.executor.look("docker", f"unknown-{number}")
            node.step()
            listings += sum(isinstance(action, ListContainers) for action in node.workers.held)
            for action in list(node.workers.held):
                node.finish(action)
            node.now += 0.1
        assert listings == 1

    def test_a_listing_that_was_asked_for_before_does_not_answer(self) -> None:
        node = Node()
        node.step()
        node.executor.look("docker")
        node.finish(node.workers.held[0])
        node.step()
        assert [type(action) for action in node.workers.held] == [ListContainers]


class TestAHungEngine:
    def test_an_engine_that_takes_requests_and_answers_none_is_away_and_is_back_when_it_answers(self) -> None:
        node = Node()
        node.order(order(0))
        node.settle()
        for _ in range(3):
            node.now += 5.0
            node.step()
        assert list(node.executor.runtime_errors.values()) == ["the engine of runtime docker has not answered for 5 s"]
        node.settle()
        assert node.executor.runtime_errors == {}
        assert node.states() == {"web-0": "running"}

    def test_an_engine_that_answers_something_is_not_hung(self) -> None:
        node = Node()
        node.order(order(0))
        node.settle()
        for _ in range(4):
            node.now += 4.0
            node.step()
            container = node.runtime.containers()[0]
            node.executor.complete(Result(LookAt("docker", container.uid, container.id), container=container))
            node.step()
        assert node.executor.runtime_errors == {}

    def test_a_quiet_engine_is_asked_every_five_seconds(self) -> None:
        node = Node()
        node.settle()
        node.now += 4.9
        assert node.step() is not None
        assert node.workers.held == []
        node.now += 0.1
        node.step()
        assert node.workers.held == [Ping("docker")]
