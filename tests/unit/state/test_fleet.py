"""What agents tell is taken as far as it is news; what they are told is what is wanted now."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from newbon_core.model import (
    ContainerSpec,
    Event,
    EventBatch,
    Instance,
    InstanceState,
    InstanceStatus,
    NodeState,
    Revision,
    Schedule,
    Taint,
)
from newbon_core.model.wire import ContainerSample, HostSample, Report, tried_again
from newbon_core.state.cache import WATCH_PREFIX, Cache
from newbon_core.state.codec import Object, decode
from newbon_core.state.fleet import Fleet, changes_by_node, supersedes
from newbon_core.store.base import StoreUnavailable
from newbon_core.testing.builders import (
    make_instance,
    make_node,
    make_node_status,
    make_service,
    make_status,
    store_objects,
)
from newbon_core.testing.memory_store import MemoryStore
from newbon_core.testing.simulator_world import FaultyStore

RUNNING, FAILED, PULLING, STOPPING = (
    InstanceState.RUNNING,
    InstanceState.FAILED,
    InstanceState.PULLING,
    InstanceState.STOPPING,
)


@dataclass(frozen=True)
class Settings:
    heartbeat_s: float = 3.0


class Site:
    """A fleet over a store in memory; ``see`` brings its cache up to date."""

    def __init__(self, *objects: Object) -> None:
        self.store = FaultyStore(MemoryStore())
        store_objects(self.store, objects)
        self.cache = Cache()
        self.watch = self.store.watch(WATCH_PREFIX, 1)
        self.fleet = Fleet(self.store, self.cache, Settings())
        self.see()

    def see(self) -> None:
        while (batch := self.watch.poll(0)) is not None:
            self.cache.apply(batch)

    def report(self, *statuses: InstanceStatus, node: str = "n1", at: float = 1.0, **fields: object):  # type: ignore[no-untyped-def]
        report = Report(node=node, boot_id="b", sent_at=at, statuses=statuses, **fields)  # type: ignore[arg-type]
        reply = self.fleet.report(report, at)
        self.see()
        return reply

    def events(self) -> list[Event]:
        found = [decode(EventBatch, one.key, one.value) for one in self.store.list("/newbon/events/")[0]]
        return [event for batch in found for event in batch.events]  # type: ignore[attr-defined]  # by its key's kind

    def state(self, name: str = "web-1") -> InstanceState | None:
        stored = self.cache.statuses.get(name)
        return stored.value.state if stored is not None else None


WEB = make_instance("web-1", "n1")


class TestRegistration:
    def test_a_new_node_is_created_and_known(self) -> None:
        site = Site()
        site.fleet.register(make_node_status("n1"), 5.0)
        site.see()
        assert site.cache.nodes["n1"].value.state is NodeState.READY
        assert site.cache.node_statuses["n1"].value == make_node_status("n1")
        assert site.fleet.last_heard["n1"] == 5.0
        assert site.fleet.take_news() == ["n1"]

    def test_a_new_node_starts_with_the_taints_of_its_host(self) -> None:
        site = Site()
        gpu = Taint(key="gpu", value="only")
        site.fleet.register(make_node_status("n1", taints=(gpu,)), 5.0)
        site.see()
        assert site.cache.nodes["n1"].value.taints == (gpu,)

    def test_a_taint_that_an_operator_removed_does_not_come_back_with_the_next_registration(self) -> None:
        site = Site(make_node("n1", taints=()), make_node_status("n1"))
        site.fleet.register(make_node_status("n1", taints=(Taint(key="gpu"),), cpu_millis=1), 5.0)
        site.see()
        assert site.cache.nodes["n1"].value.taints == ()
        assert site.cache.node_statuses["n1"].value.taints == (Taint(key="gpu"),)

    def test_registering_again_unchanged_writes_nothing(self) -> None:
        site = Site(make_node(), make_node_status())
        revision = site.store.list("/")[1]
        site.fleet.register(make_node_status(), 5.0)
        assert site.store.list("/")[1] == revision

    def test_what_operators_set_survives_a_registration(self) -> None:
        site = Site(make_node(cordoned=True, labels={"a": "b"}), make_node_status())
        site.fleet.register(make_node_status(cpu_millis=1), 5.0)
        site.see()
        assert site.cache.nodes["n1"].value.cordoned
        assert site.cache.node_statuses["n1"].value.cpu_millis == 1

    def test_a_node_that_the_cache_does_not_show_yet_is_no_conflict(self) -> None:
        site = Site()
        store_objects(site.store, [make_node(cordoned=True)])
        site.fleet.register(make_node_status(), 5.0)
        site.see()
        assert site.cache.nodes["n1"].value.cordoned
        assert "n1" in site.cache.node_statuses

    def test_an_unknown_node_is_asked_to_register_and_a_known_one_told_the_pace(self) -> None:
        site = Site()
        assert not site.report().registered
        site.fleet.register(make_node_status(), 5.0)
        assert site.fleet.report(Report(node="n1", boot_id="b", sent_at=5.0), 5.0).registered, (
            "before the cache shows it"
        )
        site.see()
        assert site.report().registered
        assert site.report().heartbeat_s == 3.0


class TestStatuses:
    def test_a_status_is_stored(self) -> None:
        site = Site(WEB)
        site.report(make_status(WEB))
        assert site.state() is RUNNING

    def test_a_plain_heartbeat_writes_nothing(self) -> None:
        site = Site(WEB, make_node(), make_node_status(), make_status(WEB))
        revision = site.store.list("/")[1]
        site.report(at=7.0)
        site.report(make_status(WEB), at=8.0)
        assert site.store.list("/")[1] == revision
        assert site.fleet.last_heard["n1"] == 8.0
        assert not site.fleet.take_news()

    def test_a_late_status_never_overwrites_a_newer_one(self) -> None:
        site = Site(WEB)
        site.report(make_status(WEB, STOPPING))
        site.report(make_status(WEB, RUNNING))
        assert site.state() is STOPPING

    def test_a_finished_status_is_final(self) -> None:
        site = Site(WEB)
        site.report(make_status(WEB, InstanceState.STOPPED, message="first"))
        site.report(make_status(WEB, FAILED, message="second"))
        assert site.cache.statuses["web-1"].value.message == "first"

    def test_of_another_uid_or_another_node_nothing_is_taken(self) -> None:
        site = Site(WEB)
        site.report(make_status(make_instance("web-1", "n1", uid="older")))
        site.report(make_status(make_instance("web-1", "n2")), node="n2")
        site.report(make_status(WEB), node="n2")
        site.report(make_status(make_instance("gone-1", "n1")))
        assert not site.cache.statuses

    def test_a_status_of_an_instance_that_only_the_store_knows_is_not_lost(self) -> None:
        site = Site()
        store_objects(site.store, [WEB])
        site.report(make_status(WEB))
        assert site.state() is RUNNING

    def test_a_cache_that_is_behind_does_not_let_an_older_state_win(self) -> None:
        site = Site(WEB)
        store_objects(site.store, [make_status(WEB, FAILED)])
        site.report(make_status(WEB, RUNNING))
        assert site.state() is FAILED

    def test_without_the_store_nothing_is_acknowledged_but_the_node_is_heard(self) -> None:
        site = Site(WEB)
        site.store.away = True
        with pytest.raises(StoreUnavailable):
            site.report(make_status(WEB), at=4.0)
        assert site.fleet.last_heard["n1"] == 4.0

    def test_what_ran_and_is_not_in_a_full_report_has_failed(self) -> None:
        site = Site(WEB, make_status(WEB))
        site.report(full=True)
        assert site.state() is FAILED

    def test_a_full_report_proves_nothing_of_what_never_ran_or_while_an_engine_is_away_or_late(self) -> None:
        for early in (PULLING, InstanceState.STARTING):
            site = Site(WEB, make_status(WEB, early))
            site.report(full=True)
            assert site.state() is early
        site = Site(WEB, make_status(WEB))
        site.report(full=True, runtime_errors={"docker": "away"})
        site.report(at=9.0)
        site.report(full=True, at=8.0)
        assert site.state() is RUNNING

    def test_a_runtime_that_stops_answering_is_news_once(self) -> None:
        site = Site(make_node(), make_node_status())
        woken: list[int] = []
        site.fleet.wake = lambda: woken.append(1)
        site.report(runtime_errors={"docker": "refused"})
        assert site.fleet.take_news() == ["n1"]
        assert woken == [1]
        assert site.fleet.take_news() == []

    def test_what_failed_and_is_tried_again_is_told_once_as_long_as_it_is_the_same(self) -> None:
        site = Site(WEB)
        for number, (state, message) in enumerate(
            [
                (PULLING, tried_again("the registry does not answer", 1)),
                (PULLING, "pulling 1 of 3 layers"),
                (PULLING, tried_again("the registry does not answer", 2)),
                (InstanceState.STARTING, tried_again("host port 80 is taken on this node", 4)),
            ]
        ):
            site.report(make_status(WEB, state, message=message), at=float(number))
            assert site.cache.statuses["web-1"].value.message == message
        told = [event for event in site.events() if event.reason == "InstanceTrouble"]
        assert [(event.level, event.name, event.service, event.message) for event in told] == [
            ("warning", "web-1", "web", "the registry does not answer; tried again in 1 s"),
            ("warning", "web-1", "web", "host port 80 is taken on this node; tried again in 4 s"),
        ]

    def test_supersedes_goes_one_way(self) -> None:
        assert supersedes(make_status(WEB), None)
        assert supersedes(make_status(WEB), make_status(WEB, PULLING))
        assert not supersedes(make_status(WEB, PULLING), make_status(WEB))
        assert not supersedes(make_status(WEB), make_status(WEB))
        assert supersedes(make_status(WEB, address="10.0.0.1"), make_status(WEB))
        assert supersedes(make_status(WEB), make_status(make_instance("web-1", uid="older"), FAILED))


class TestOrders:
    def test_a_full_update_has_everything_on_the_node(self) -> None:
        service = make_service(container=ContainerSpec(image="shop"))
        stopped = make_instance("web-2", "n1", wanted="stopped")
        lost = make_instance("web-3", "n1", wanted="lost")
        done = make_instance("web-4", "n1")
        site = Site(service, WEB, stopped, lost, done, make_instance("web-5", "n2"), make_status(done, FAILED))
        update = site.fleet.orders("n1")
        assert update.full
        assert update.revision == site.cache.revision
        wanted = {order.name: order.wanted for order in update.orders}
        assert wanted == {"web-1": "running", "web-2": "stopped", "web-3": "stopped", "web-4": "stopped"}
        assert update.orders[0].container.image == "shop"

    def test_an_instance_of_an_older_revision_gets_that_revisions_container(self) -> None:

        old = Revision(service="web", number=1, container=ContainerSpec(image="old"), schedule=Schedule(), created_at=0)
        site = Site(make_service(revision=2), old, WEB)
        assert site.fleet.orders("n1").orders[0].container.image == "old"

    def test_one_that_is_known_to_have_run_is_not_to_be_made_again(self) -> None:
        site = Site(make_service(), WEB)
        assert not site.fleet.orders("n1").orders[0].begun
        site.report(make_status(WEB))
        assert site.fleet.orders("n1").orders[0].begun

    def test_changes_become_orders_and_withdrawals_of_their_node_only(self) -> None:
        site = Site(make_service(), WEB, make_instance("web-2", "n1"), make_instance("web-3", "n2"))
        store_objects(site.store, [make_instance("web-1", "n1", wanted="stopped"), make_instance("web-4", "n1")])
        site.store.txn([], [], ["/newbon/instances/web-2"])
        batch = site.watch.poll(0)
        assert batch is not None
        changes = site.cache.apply(batch)
        update = site.fleet.orders_since("n1", changes, batch.revision)
        assert update is not None
        assert {order.name: order.wanted for order in update.orders} == {"web-1": "stopped", "web-4": "running"}
        assert update.withdrawn == ("uid-web-2",)
        assert site.fleet.orders_since("n2", changes, batch.revision) is None
        assert set(changes_by_node(changes)) == {"n1"}

    def test_a_name_that_is_used_again_withdraws_the_earlier_uid(self) -> None:
        site = Site(make_service(), WEB)
        store_objects(site.store, [make_instance("web-1", "n1", uid="newer")])
        batch = site.watch.poll(0)
        assert batch is not None
        update = site.fleet.orders_since("n1", site.cache.apply(batch), batch.revision)
        assert update is not None
        assert (update.orders[0].uid, update.withdrawn) == ("newer", ("uid-web-1",))

    def test_a_deleted_services_instances_can_still_be_stopped(self) -> None:
        site = Site(make_instance("web-1", "n1", wanted="stopped"))
        assert site.fleet.orders("n1").orders[0].wanted == "stopped"


class TestSamples:
    def sample(self, instance: Instance = WEB, cpu: float = 0.5) -> ContainerSample:
        return ContainerSample(
            instance=instance.name, uid=instance.uid, time=0.0, cpu_cores=cpu, memory_bytes=2**20,
            receive_bytes_s=1.0, transmit_bytes_s=2.0, pids=3,
        )  # fmt: skip

    def test_samples_of_the_last_minutes_are_kept(self) -> None:
        site = Site(WEB)
        for at in range(100, 700, 10):
            site.report(at=float(at), containers=(self.sample(cpu=float(at)),))
        latest = site.fleet.samples.container(WEB.uid, 700.0)
        assert latest is not None
        assert (latest.cpu_cores, latest.memory_bytes, latest.pids) == (690.0, 2**20, 3)
        window = site.fleet.samples.container_window(WEB.uid, 600.0)
        assert [one.cpu_cores for one in window] == [float(at) for at in range(600, 700, 10)]
        assert len(site.fleet.samples.container_window(WEB.uid, 0.0)) == 20

    def test_a_sample_that_is_old_is_no_sample(self) -> None:
        site = Site(WEB)
        site.report(at=100.0, containers=(self.sample(),))
        assert site.fleet.samples.container(WEB.uid, 500.0) is None

    def test_what_is_gone_is_forgotten_and_what_never_was_is_not_kept(self) -> None:
        site = Site(WEB)
        site.report(containers=(self.sample(), self.sample(make_instance("ghost-1"))))
        assert len(site.fleet.samples) == 1
        site.store.txn([], [], ["/newbon/instances/web-1"])
        site.see()
        assert len(site.fleet.samples) == 0

    def test_a_row_that_is_used_again_tells_nothing_of_its_former_owner(self) -> None:
        site = Site(WEB)
        site.report(at=100.0, containers=(self.sample(),))
        site.store.txn([], [], ["/newbon/instances/web-1"])
        other = make_instance("web-2", "n1")
        store_objects(site.store, [other])
        site.see()
        site.report(at=150.0, containers=(self.sample(other, 0.25),))
        assert [one.cpu_cores for one in site.fleet.samples.container_window(other.uid, 0.0)] == [0.25]

    def test_hosts(self) -> None:
        site = Site(make_node())
        for at in range(0, 1000, 5):
            host = HostSample(
                time=float(at), cpu_cores=1.0, cpu_count=4, memory_used_bytes=1, memory_total_bytes=2,
                disk_used_bytes=1, disk_total_bytes=2, receive_bytes_s=0.0, transmit_bytes_s=0.0, load1=0.0,
            )  # fmt: skip
            site.report(at=float(at + 1), host=host)
        assert site.fleet.samples.host("n1") is not None
        assert len(site.fleet.samples.host_window("n1", 0.0)) == 20
        site.store.txn([], [], ["/newbon/nodes/n1"])
        site.see()
        assert site.fleet.samples.host("n1") is None
