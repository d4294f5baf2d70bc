"""What becomes of a service's instances, decision by decision."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from newbon_core.controllers.replicas import Fresh, ReplicaPlan, plan_replicas
from newbon_core.controllers.roster import Roster
from newbon_core.model import (
    ContainerSpec,
    Instance,
    InstanceState,
    InstanceStatus,
    Port,
    Restart,
    Service,
    Update,
)
from newbon_core.state.cache import Cache
from newbon_core.testing.builders import make_cache, make_instance, make_service, make_status

NOW = 1000.0
Member = tuple[Instance, InstanceStatus | None]


def roster_of(cache: Cache, service: str = "web") -> Roster:
    roster = Roster(service)
    for stored in cache.instances.values():
        roster.put(stored.value, cache.status_of(stored.value))
    return roster


def plan(service: Service | None, *members: Member, now: float = NOW) -> ReplicaPlan:
    statuses = [status for _, status in members if status is not None]
    cache = make_cache([*(instance for instance, _ in members), *statuses])
    return plan_replicas(service, roster_of(cache), cache, now)


def running(number: int, **fields: object) -> Member:
    instance = make_instance(f"web-{number}", **fields)
    return instance, make_status(instance, InstanceState.RUNNING, started_at=NOW - 10)


def starting(number: int, **fields: object) -> Member:
    return make_instance(f"web-{number}", **fields), None


def waiting(number: int, **fields: object) -> Member:
    return make_instance(f"web-{number}", node=None, **{"waiting": "no node fits", **fields}), None


def ended(number: int, state: InstanceState = InstanceState.FAILED, ran_s: float = 1.0, **fields: object) -> Member:
    instance = make_instance(f"web-{number}", **fields)
    return instance, make_status(instance, state, started_at=NOW - ran_s, finished_at=NOW, exit_code=1)


def leaving(number: int, **fields: object) -> Member:
    instance = make_instance(f"web-{number}", wanted="stopped", **fields)
    return instance, make_status(instance, InstanceState.STOPPING)


def gone(result: ReplicaPlan) -> list[str]:
    return [one.name for one in result.retired]


class TestNumbers:
    def test_a_new_service_gets_all_its_replicas(self) -> None:
        assert plan(make_service(replicas=3)).fresh == [Fresh(), Fresh(), Fresh()]

    def test_enough_is_enough(self) -> None:
        result = plan(make_service(replicas=2), running(1), starting(2))
        assert not result.fresh
        assert not result.retired

    def test_one_that_was_told_to_stop_is_replaced_at_once(self) -> None:
        assert len(plan(make_service(replicas=2), running(1), leaving(2)).fresh) == 1

    def test_one_lost_with_its_node_is_replaced_at_once(self) -> None:
        lost = make_instance("web-1", wanted="lost")
        assert plan(make_service(replicas=1), (lost, make_status(lost))).fresh == [Fresh()]

    def test_scaling_down_removes_the_newest(self) -> None:
        result = plan(make_service(replicas=1), running(1), running(3), running(2))
        assert gone(result) == ["web-3", "web-2"]

    def test_those_that_wait_go_before_those_that_start_before_those_that_run(self) -> None:
        members = [waiting(1), starting(2), running(3), running(4)]
        assert gone(plan(make_service(replicas=3), *members)) == ["web-1"]
        assert gone(plan(make_service(replicas=2), *members)) == ["web-1", "web-2"]
        assert gone(plan(make_service(replicas=1), *members)) == ["web-1", "web-2", "web-4"]

    def test_a_deleted_service_takes_everything_with_it(self) -> None:
        result = plan(None, waiting(1), starting(2), running(3), leaving(4), ended(5))
        assert gone(result) == ["web-1", "web-2", "web-3"]
        assert not result.fresh

    def test_instances_of_an_earlier_service_of_that_name_go(self) -> None:
        service = make_service(replicas=1, created_at=500.0)
        result = plan(service, running(1, created_at=400.0), running(2, created_at=500.0))
        assert result.foreign
        assert gone(result) == ["web-1"]
        assert not result.fresh


class TestEnds:
    def test_a_failed_one_is_replaced_after_its_backoff(self) -> None:
        service = make_service(restart=Restart(backoff_s=3))
        assert plan(service, ended(1)).fresh == [Fresh(failures=1, not_before=NOW + 3, replaces="web-1")]

    def test_never_keeps_its_place_filled(self) -> None:
        service = make_service(replicas=2, restart=Restart(policy="never"))
        result = plan(service, ended(1), running(2))
        assert not result.fresh
        assert not result.retired

    def test_on_failure_only_replaces_what_failed(self) -> None:
        service = make_service(replicas=2, restart=Restart(policy="on-failure"))
        result = plan(service, ended(1, InstanceState.STOPPED), ended(2, InstanceState.FAILED))
        assert [one.replaces for one in result.fresh] == ["web-2"]

    def test_an_end_in_a_service_that_was_scaled_down_is_not_replaced(self) -> None:
        result = plan(make_service(replicas=1), running(1), ended(2))
        assert not result.fresh
        assert gone(result) == ["web-2"]

    def test_an_outdated_one_that_ended_is_replaced_by_the_present_revision_without_a_backoff(self) -> None:
        result = plan(make_service(replicas=1, revision=2), ended(1, revision=1))
        assert gone(result) == ["web-1"]
        assert result.fresh == [Fresh()]


def rolling(order: str, parallelism: int = 1, replicas: int = 3, **fields: object) -> Service:
    update = Update(order=order, parallelism=parallelism)  # type: ignore[arg-type]
    return make_service(replicas=replicas, revision=2, update=update, **fields)


class TestStartFirst:
    def test_a_new_one_comes_before_an_old_one_goes(self) -> None:
        result = plan(rolling("start-first"), running(1), running(2), running(3))
        assert len(result.fresh) == 1
        assert not result.retired

    def test_an_old_one_goes_when_the_new_one_runs(self) -> None:
        result = plan(rolling("start-first"), running(1), running(2), running(3), running(4, revision=2))
        assert gone(result) == ["web-3"]

    def test_nothing_goes_while_the_new_one_starts(self) -> None:
        result = plan(rolling("start-first"), running(1), running(2), running(3), starting(4, revision=2))
        assert not result.retired
        assert not result.fresh

    def test_parallelism_bounds_how_many_are_under_way(self) -> None:
        result = plan(rolling("start-first", parallelism=2), running(1), running(2), running(3))
        assert len(result.fresh) == 2

    def test_more_parallelism_than_replicas_is_no_more_than_replicas(self) -> None:
        assert len(plan(rolling("start-first", parallelism=9), running(1), running(2), running(3)).fresh) == 3

    def test_old_ones_that_do_not_run_go_first(self) -> None:
        result = plan(rolling("start-first"), running(1), starting(2), running(3), running(4, revision=2))
        assert gone(result) == ["web-2"]

    def test_old_ones_that_wait_are_made_anew_at_once(self) -> None:
        result = plan(rolling("start-first", replicas=2), waiting(1), waiting(2))
        assert gone(result) == ["web-1", "web-2"]
        assert result.fresh == [Fresh(), Fresh()]

    def test_scaling_down_meanwhile_takes_old_ones(self) -> None:
        result = plan(rolling("start-first", replicas=1), running(1), running(2), running(3))
        assert gone(result) == ["web-3", "web-2"]

    def test_fixed_host_ports_that_leave_no_room_make_an_old_one_go_first(self) -> None:
        ports = ContainerSpec(image="app", ports=(Port(name="http", port=80, host_port=8080),))
        service = rolling("start-first", replicas=1, container=ports)
        assert gone(plan(service, running(1), waiting(2, revision=2))) == ["web-1"]
        assert not plan(service, leaving(1), waiting(2, revision=2)).retired


class TestStopFirst:
    def test_an_old_one_goes_before_a_new_one_comes(self) -> None:
        result = plan(rolling("stop-first"), running(1), running(2), running(3))
        assert gone(result) == ["web-3"]
        assert not result.fresh

    def test_nothing_comes_while_the_old_one_is_leaving(self) -> None:
        result = plan(rolling("stop-first"), running(1), running(2), leaving(3))
        assert not result.fresh
        assert not result.retired

    def test_a_new_one_comes_when_the_old_one_has_gone(self) -> None:
        assert plan(rolling("stop-first"), running(1), running(2)).fresh == [Fresh()]

    def test_the_next_old_one_goes_when_the_new_one_runs(self) -> None:
        assert not plan(rolling("stop-first"), running(1), running(2), starting(3, revision=2)).retired
        assert gone(plan(rolling("stop-first"), running(1), running(2), running(3, revision=2))) == ["web-2"]


MEMBERS = st.lists(
    st.tuples(st.sampled_from(["waiting", "starting", "running", "leaving", "ended"]), st.integers(1, 2)), max_size=8
)


@given(MEMBERS, st.integers(0, 5), st.integers(1, 3), st.sampled_from(["start-first", "stop-first"]))
def test_any_service_reaches_exactly_its_replicas(
    kinds: list[tuple[str, int]], replicas: int, parallelism: int, order: str
) -> None:
    """Whatever state it is in: carry out plan after plan in a world that obeys, and the update ends."""
    make = {"waiting": waiting, "starting": starting, "running": running, "leaving": leaving, "ended": ended}
    members = {f"web-{n}": make[kind](n, revision=revision) for n, (kind, revision) in enumerate(kinds, start=1)}
    service = rolling(order, parallelism, replicas)
    most = max(len(members), replicas + parallelism)
    number = len(members)
    for _ in range(60):
        result = plan(service, *members.values())
        for one in [*gone(result), *(fresh.replaces for fresh in result.fresh if fresh.replaces)]:
            members.pop(one)
        for _fresh in result.fresh:
            number += 1
            members[f"web-{number}"] = starting(number, revision=2)
        alive = [one for one in members.values() if one[0].wanted == "running"]
        assert len(alive) <= most, "more than the service and its update ask for"
        if (
            not result.fresh
            and not result.retired
            and len(alive) == len(members)
            and all(s for _, s in members.values())
        ):
            break
        members = {
            name: (replace(instance, node="n1"), make_status(replace(instance, node="n1"), started_at=0.0))
            for name, (instance, _) in members.items()
            if instance.wanted == "running"
        }
    assert len(members) == replicas
    assert all(instance.revision == 2 for instance, _ in members.values())
