"""A cluster in a few lines: what users are promised, one story each."""

from __future__ import annotations

from dataclasses import replace

import pytest

from newbon_core.model import ContainerSpec, NodeState, Port, Resources, Restart, Schedule, Service, Update
from newbon_core.testing.builders import make_service
from newbon_core.testing.plugins import make_request
from newbon_core.testing.scheduling import make_nodes, schedule
from newbon_core.testing.simulator import Simulation, SimulationFailed
from newbon_core.testing.simulator_server import ServerDown

WEB = make_service("web", replicas=3)


def settled(nodes: int = 3, service: Service = WEB) -> Simulation:
    cluster = Simulation(seed=3, nodes=nodes)
    cluster.run_for(3)
    cluster.apply(service)
    cluster.run_until(cluster.settled, within_s=60)
    return cluster


def test_a_service_runs_soon_after_it_was_applied() -> None:
    cluster = Simulation(seed=3, nodes=3)
    cluster.run_for(3)
    cluster.apply(WEB)
    assert cluster.run_until(cluster.settled, within_s=10) < 3


def test_a_hosts_instances_run_elsewhere_after_it_died_and_leave_it_when_it_is_back() -> None:
    cluster = settled(nodes=4)
    cluster.nodes["n1"].kill_host()
    took = cluster.run_until(lambda: cluster.running("web") == 3, within_s=200)
    assert took < cluster.settings.lost_after_s + 5
    cluster.nodes["n1"].start_host()
    cluster.run_until(lambda: cluster.node("n1").state is NodeState.READY, within_s=30)  # type: ignore[union-attr]
    cluster.run_until(cluster.settled, within_s=30)


def test_what_a_partitioned_node_runs_goes_on_until_it_is_back() -> None:
    cluster = settled(nodes=4)
    cluster.network.cut("n1")
    cluster.run_until(lambda: cluster.running("web") == 3 and cluster.node("n1").state is NodeState.LOST, 200)  # type: ignore[union-attr]
    assert len(cluster.nodes["n1"].live()) == 1
    cluster.network.mend("n1")
    cluster.run_until(lambda: not cluster.nodes["n1"].live(), within_s=60)


def test_a_dead_control_plane_stops_no_container_and_loses_nothing() -> None:
    cluster = settled()
    cluster.server.kill()
    cluster.run_for(3600)
    assert sum(len(node.live()) for node in cluster.nodes.values()) == 3
    with pytest.raises(ServerDown):
        cluster.scale("web", 1)
    cluster.server.start()
    cluster.run_for(120)
    assert cluster.settled()
    assert {node.name for node in cluster.nodes.values() if node.live()} == {"n1", "n2", "n3"}


def test_a_dead_agent_stops_no_container_and_its_successor_adopts_them() -> None:
    cluster = settled()
    before = {container.uid for node in cluster.nodes.values() for container in node.live()}
    for node in cluster.nodes.values():
        node.kill_agent(restart_after_s=20)
    cluster.run_for(120)
    assert {container.uid for node in cluster.nodes.values() for container in node.live()} == before
    assert cluster.settled()


def test_a_start_first_update_never_has_fewer_than_its_replicas_running() -> None:
    service = replace(WEB, update=Update(parallelism=1, order="start-first"))
    cluster = settled(service=service)
    cluster.apply(replace(service, container=replace(service.container, env={"VERSION": "2"})))
    fewest = 3

    def updated() -> bool:
        nonlocal fewest
        fewest = min(fewest, sum(len(node.live()) for node in cluster.nodes.values()))
        return cluster.settled() and cluster.running("web") == 3

    cluster.run_until(updated, within_s=120)
    assert fewest == 3


def test_a_fixed_host_port_on_the_only_node_does_not_block_an_update() -> None:
    ports = (Port(name="http", port=80, host_port=8080),)
    service = make_service("edge", container=ContainerSpec(image="app", ports=ports))
    cluster = settled(nodes=1, service=service)
    cluster.apply(replace(service, container=replace(service.container, env={"VERSION": "2"})))
    cluster.run_until(lambda: cluster.settled() and cluster.running("edge") == 1, within_s=60)


def test_a_job_is_done_once_and_stays_done() -> None:
    job = make_service(
        "job",
        replicas=2,
        container=ContainerSpec(image="app", command=("sh", "-c", "sleep 30; exit 0")),
        restart=Restart(policy="on-failure"),
    )
    cluster = settled(service=job)
    cluster.run_until(lambda: cluster.done("job") == 2, within_s=120)
    cluster.run_for(8000)
    assert cluster.done("job") == 2
    assert len(cluster.instances("job")) == 2


def test_what_waits_for_room_starts_when_there_is_some() -> None:
    big = ContainerSpec(image="app", resources=Resources(cpu_millis=4000))
    cluster = settled(nodes=2, service=make_service("first", replicas=2, container=big))
    cluster.apply(make_service("second", container=big))
    cluster.run_for(10)
    waiting = cluster.instances("second")[0][0]
    assert waiting.node is None
    assert "cpu" in (waiting.waiting or "")
    cluster.scale("first", 1)
    cluster.run_until(lambda: cluster.running("second") == 1, within_s=30)


def test_what_does_not_come_says_so_with_the_seed() -> None:
    cluster = Simulation(seed=42, nodes=1)
    with pytest.raises(SimulationFailed, match=r"(?s)did not come within 5 s.*seed 42.*newbon-sim.*last events"):
        cluster.run_until(lambda: False, within_s=5)


class TestScheduling:
    def test_one_question_to_the_scheduler(self) -> None:
        nodes = make_nodes(3, memory_bytes=[2**30, 2**31, 2**30], disk=["hdd", "ssd", "hdd"], cpu_millis=1000)
        request = make_request(schedule=Schedule(constraints=("node.labels.disk == ssd",)))
        answer = schedule(request, nodes)
        assert answer.nodes == ["n2"]
        assert answer.explain() is not None

    def test_columns_must_be_as_long_as_the_fleet(self) -> None:
        with pytest.raises(ValueError, match="'zone' has 2 values for 3 nodes"):
            make_nodes(3, zone=["a", "b"])
