"""The control loop over a store in memory: what it writes, when, and what it does when the store lets it down."""

from __future__ import annotations

from dataclasses import replace

import pytest
from control_builders import HOST, Control

from newbon_core.model import (
    ContainerSpec,
    InstanceState,
    InstanceStatus,
    Node,
    NodeState,
    NodeStatus,
    Resources,
    Restart,
    Revision,
    Schedule,
    Service,
)
from newbon_core.model.wire import Report
from newbon_core.schema.plugins import unenforced
from newbon_core.state.changes import Changes, commit_units
from newbon_core.testing.builders import make_node_status, make_service

CPU = Resources(cpu_millis=1000)


class TestCreating:
    def test_a_huge_service_leaves_every_other_its_turn_and_gets_all_it_wants(self) -> None:
        control = Control(nodes=2)
        control.write(make_service("huge", replicas=4500), make_service("small", replicas=2))
        control.see()
        control.loop.step(control.now)
        assert (len(control.names_of("huge")), len(control.names_of("small"))) == (2000, 2)
        control.turn()
        assert len(control.names_of("huge")) == 4500

    def test_instances_are_created_and_placed_in_one_write(self) -> None:
        control = Control()
        control.write(make_service(replicas=3))
        control.see()
        revision = control.cache.revision
        control.loop.step(0.0)
        control.see()
        assert control.cache.revision == revision + 1
        placed = [stored.value for stored in control.cache.instances.values()]
        assert [one.node for one in placed] == ["n1", "n2", "n3"]
        assert all(one.placement is not None and one.placed_at == 0.0 for one in placed)

    def test_it_does_nothing_until_it_has_seen_its_own_commit(self) -> None:
        control = Control()
        control.write(make_service(replicas=3))
        control.see()
        control.loop.step(0.0)
        revision = control.store.list("/")[1]
        control.loop.step(0.0)
        control.loop.step(0.1)
        assert control.store.list("/")[1] == revision

    def test_it_waits_for_what_the_cache_has_taken_but_not_told_yet(self) -> None:
        control = Control()
        control.write(make_service(replicas=3))
        control.see()
        control.loop.step(0.0)
        # Another thread's step between the cache's change and the loop's hearing of it.
        control.meanwhile = lambda: control.loop.step(0.0)
        assert control.names_of() == ["web-1", "web-2", "web-3"]
        control.turn()
        assert control.names_of() == ["web-1", "web-2", "web-3"]

    def test_the_lowest_free_numbers_are_used(self) -> None:
        control = Control()
        control.write(make_service(replicas=3))
        control.turn()
        control.write(make_service(replicas=1, updated_at=1.0))
        control.turn()
        for name in ("web-2", "web-3"):
            control.tell(name, InstanceState.STOPPED)
        control.write(make_service(replicas=2, updated_at=2.0))
        control.turn()
        assert control.names_of() == ["web-1", "web-2", "web-3", "web-4"]

    def test_what_uses_fields_that_no_plugin_enforces_waits_and_is_asked_about_once_per_revision(self) -> None:
        asked: list[int] = []

        def held(service: Service) -> str:
            asked.append(service.revision)
            return unenforced(service, HOST)

        control = Control(held=held)
        control.write(make_service(replicas=3, schedule=Schedule(constraints=("disk==ssd",))))
        control.turn()
        control.heartbeat()
        control.scheduler.table.improvements += 1
        control.now = 1.0
        control.turn()
        why = "schedule.constraints is not enforced by any enabled plugin: pip install newbon-filter-constraints"
        assert [(one.value.node, one.value.waiting) for one in control.cache.instances.values()] == [(None, why)] * 3
        assert asked == [1]
        control.write(make_service(replicas=3, revision=2, updated_at=1.0))
        control.turn()
        assert all(one.value.node for one in control.cache.instances.values())
        assert asked == [1, 2]

    def test_what_has_no_room_waits_with_the_reason_and_is_placed_when_there_is_some(self) -> None:
        control = Control(nodes=1)
        control.write(make_service(replicas=5, container=ContainerSpec(image="app", resources=CPU)))
        control.turn()
        waiting = [i for i in control.cache.instances_of("web") if i.node is None]
        assert len(waiting) == 1
        assert "cpu" in (waiting[0].waiting or "")
        control.names.append("n2")
        control.fleet.register(make_node_status("n2"), 1.0)
        control.now = 1.0
        control.turn()
        assert all(i.node is not None and i.waiting is None for i in control.cache.instances_of("web"))

    def test_nothing_is_tried_again_while_nothing_changes(self) -> None:
        control = Control(nodes=1)
        control.write(make_service(replicas=9, container=ContainerSpec(image="app", resources=CPU)))
        control.turn()
        revision = control.cache.revision
        for control.now in (0.5, 1.0, 5.0, 9.0):
            control.heartbeat()
            control.turn()
        assert control.cache.revision == revision

    def test_the_urgent_are_placed_first(self) -> None:
        control = Control(nodes=1)
        big = ContainerSpec(image="app", resources=Resources(cpu_millis=3000))
        low = make_service("low", container=big)
        control.write(low, make_service("high", container=big, schedule=replace(low.schedule, priority=90)))
        control.turn()
        assert control.cache.instances["high-1"].value.node == "n1"
        assert control.cache.instances["low-1"].value.node is None


class TestConflicts:
    def test_a_service_that_changed_meanwhile_refuses_what_was_decided_from_its_past(self) -> None:
        control = Control()
        control.write(make_service(replicas=3))
        control.see()
        control.write(make_service(replicas=1, updated_at=1.0))
        control.loop.step(0.0)
        assert not control.store.list("/newbon/instances/")[0]
        control.now = 0.1
        control.turn()
        assert control.names_of() == ["web-1"]
        assert control.scheduler.table.service_total("web") == 1

    @pytest.mark.parametrize("kind", ["fail-before", "fail-after"])
    def test_an_answer_that_is_lost_neither_doubles_nor_leaks_room(self, kind: str) -> None:
        control = Control()
        control.write(make_service(replicas=3))
        control.see()
        control.store.trap = (0, kind)
        assert control.loop.step(0.0) == control.settings.store_retry_s
        control.now = 1.0
        control.turn()
        assert len(control.names_of()) == 3
        assert control.scheduler.table.service_total("web") == 3

    def test_a_new_server_finishes_what_another_began(self) -> None:
        control = Control()
        control.write(make_service(replicas=200))
        control.see()
        control.store.trap = (1, "fail-before")
        control.loop.step(0.0)
        begun = len(control.store.list("/newbon/instances/")[0])
        assert 0 < begun < 200
        heir = Control(store=control.store)
        assert len(heir.names_of()) == 200


class TestEnds:
    def test_a_failed_one_is_replaced_after_its_backoff(self) -> None:
        control = Control()
        control.write(make_service(restart=Restart(backoff_s=4.0)))
        control.turn()
        control.tell("web-1", InstanceState.FAILED, message="exit code 3")
        wake = control.turn()
        assert control.cache.instances["web-2"].value.node is None
        assert control.cache.instances["web-1"].value.reason == "replaced by web-2"
        assert wake is not None
        assert wake <= 4.0
        control.now = 4.0
        control.heartbeat()
        control.turn()
        assert control.cache.instances["web-2"].value.node is not None
        assert control.cache.instances["web-2"].value.failures == 1
        assert "InstanceEnded" in control.reasons()

    def test_a_deleted_service_leaves_nothing_behind(self) -> None:
        control = Control()
        control.write(make_service(replicas=2))
        past = Changes()
        spec = ContainerSpec(image="old")
        past.put(Revision(service="web", number=1, container=spec, schedule=Schedule(), created_at=0.0))
        commit_units(control.store.inner, [past])
        control.turn()
        control.all_run()
        control.delete("web")
        control.turn()
        assert {i.wanted for i in control.cache.instances_of("web")} == {"stopped"}
        for name in ("web-1", "web-2"):
            control.tell(name, InstanceState.STOPPED)
        control.turn()
        assert not control.cache.instances
        assert not control.cache.statuses
        assert not control.cache.revisions
        assert control.scheduler.table.service_total("web") == 0

    def test_a_status_without_its_instance_is_swept_away(self) -> None:
        control = Control()
        stray = Changes()
        stray.put(InstanceStatus(name="ghost-1", uid="u", node="n1", state=InstanceState.RUNNING))
        commit_units(control.store.inner, [stray])
        control.turn()
        assert not control.cache.statuses


class TestNodes:
    def test_a_lost_nodes_instances_are_given_up_and_replaced_at_once(self) -> None:
        control = Control(nodes=4)
        control.write(make_service(replicas=4))
        control.turn()
        control.all_run()
        control.now = 10.0
        control.heartbeat("n2", "n3", "n4")
        control.turn()
        assert control.cache.nodes["n1"].value.state is NodeState.LOST
        assert control.cache.instances["web-1"].value.wanted == "lost"
        assert control.cache.instances["web-5"].value.node in ("n2", "n3", "n4")
        assert {"NodeLost", "InstancesLost"} <= set(control.reasons())

    def test_where_most_of_a_zone_is_silent_replacement_is_paced(self) -> None:
        control = Control(nodes=4, pace_per_s=2.0, keep_finished=100)
        control.write(make_service(replicas=40))
        control.turn()
        control.now = 10.0
        control.heartbeat("n4")
        given_up = []
        for control.now in (10.0, 11.0, 12.0):
            control.heartbeat("n4")
            control.turn()
            given_up.append(sum(i.wanted == "lost" for i in control.cache.instances_of("web")))
        assert given_up == [2, 4, 6]
        control.heartbeat()
        control.now = 12.5
        control.turn()
        assert sum(i.wanted == "lost" for i in control.cache.instances_of("web")) == 6, (
            "those that came back keep theirs"
        )

    def test_where_nothing_is_left_nothing_is_given_up(self) -> None:
        control = Control(nodes=1)
        control.write(make_service(replicas=2))
        control.turn()
        control.now = 10.0
        control.turn()
        assert control.cache.nodes["n1"].value.state is NodeState.LOST
        assert {i.wanted for i in control.cache.instances_of("web")} == {"running"}
        control.heartbeat()
        control.turn()
        assert control.cache.nodes["n1"].value.state is NodeState.READY
        assert control.names_of() == ["web-1", "web-2"]

    def test_a_server_that_slept_gives_every_node_its_time_anew(self) -> None:
        control = Control()
        control.turn()
        control.now = 500.0
        control.loop.step(control.now)
        control.turn()
        assert {stored.value.state for stored in control.cache.nodes.values()} == {NodeState.READY}

    def test_a_node_whose_runtime_does_not_answer_keeps_its_instances_and_gets_no_more(self) -> None:
        control = Control(nodes=2)
        control.write(make_service(replicas=2))
        control.turn()
        away = Report(node="n1", boot_id="b", sent_at=0.0, runtime_errors={"docker": "refused"})
        control.fleet.report(away, control.now)
        control.turn()
        control.write(make_service(replicas=4, updated_at=1.0))
        control.turn()
        assert [i.node for i in control.cache.instances_of("web")] == ["n1", "n2", "n2", "n2"]

    def test_what_was_on_a_deleted_node_is_replaced(self) -> None:
        control = Control(nodes=2)
        control.write(make_service(replicas=2))
        control.turn()
        changes = Changes()
        changes.delete(Node, "n1", None)
        changes.delete(NodeStatus, "n1", None)
        commit_units(control.store.inner, [changes])
        control.turn()
        alive = [i for i in control.cache.instances_of("web") if i.wanted == "running"]
        assert [i.node for i in alive] == ["n2", "n2"]


def test_a_heartbeat_writes_nothing_and_concerns_nobody() -> None:
    control = Control()
    control.turn()
    revision = control.store.list("/")[1]
    for control.now in (2.0, 4.0, 6.0):
        control.heartbeat()
        assert not control.fleet.take_news()
        control.turn()
    assert control.store.list("/")[1] == revision
