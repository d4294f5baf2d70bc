"""Kill anything and it recovers: on real hosts, with real engines."""

from __future__ import annotations

import urllib.request

import pytest

from newbon_core.testing.cluster import RealCluster, service_document
from newbon_core.testing.testbed import wait_until

pytestmark = pytest.mark.hosts
PORTS = [{"name": "http", "port": 8080}]


def deploy(cluster: RealCluster, name: str, replicas: int, **fields: object) -> None:
    """Apply a service of the example image and wait until it runs."""
    cluster.client.apply([service_document(name, replicas, cluster.image, ports=PORTS, **fields)])
    cluster.wait_running(name, replicas, 60)


def remove(cluster: RealCluster, name: str) -> None:
    """Delete a service and wait until none of its containers runs on any host."""
    uids = {one["uid"] for one in cluster.client.instances(name)}
    cluster.client.delete("service", name)
    wait_until(
        lambda: not any(uids & cluster.containers(host) for host in cluster.bed.hosts if host.powered),
        30, f"no container of {name} runs",
    )  # fmt: skip


def page(address: str | None) -> str:
    """What the example image answers on its own address."""
    with urllib.request.urlopen(f"http://{address}:8080/", timeout=5) as answer:
        return answer.read().decode()


def test_replicas_spread_over_zones_then_nodes_and_every_one_serves_a_page(cluster: RealCluster) -> None:
    deploy(cluster, "spread", 4, schedule={"spread": ["zone", "node"]})
    by_node = [one["node"] for one in cluster.running("spread")]
    assert sorted(by_node) == ["n1", "n1", "n2", "n3"]
    for one in cluster.running("spread"):
        assert "<h1>" in page(one["address"])
    remove(cluster, "spread")


def test_a_killed_container_is_replaced_by_another_instance(cluster: RealCluster) -> None:
    deploy(cluster, "container", 2)
    victim = cluster.running("container")[0]
    host = cluster.bed.hosts[int(str(victim["node"])[1:]) - 1]
    host.docker("kill", str(victim["container_id"]))
    wait_until(
        lambda: victim["uid"] not in {one["uid"] for one in cluster.running("container")},
        10, "the killed container is noticed",
    )  # fmt: skip
    now = cluster.wait_running("container", 2, 20)
    assert victim["uid"] not in {one["uid"] for one in now}
    remove(cluster, "container")


def test_a_killed_agent_leaves_its_containers_alone_and_finds_them_again(cluster: RealCluster) -> None:
    deploy(cluster, "agent", 3)
    before = {one["uid"] for one in cluster.running("agent")}
    host = cluster.bed.hosts[0]
    cluster.kill_agent(host)
    assert before & cluster.containers(host), "the host still runs its container without the agent"
    cluster.start_agent(host)
    cluster.client.apply([service_document("agent", 6, cluster.image, ports=PORTS)])
    after = {one["uid"] for one in cluster.wait_running("agent", 6, 30)}
    assert before <= after, "nothing that ran was replaced"
    remove(cluster, "agent")


def test_a_killed_server_loses_nothing_and_stops_nothing(cluster: RealCluster) -> None:
    deploy(cluster, "server", 3)
    before = {one["uid"] for one in cluster.running("server")}
    cluster.client.scale("server", 5)
    cluster.server.kill()
    assert before <= {uid for host in cluster.bed.hosts for uid in cluster.containers(host)}
    cluster.server.start()
    after = {one["uid"] for one in cluster.wait_running("server", 5, 30)}
    assert before <= after, "the acknowledged scale is carried out, and nothing that ran was replaced"
    remove(cluster, "server")


def test_a_container_that_dies_while_the_server_is_away_is_replaced_after_it_is_back(cluster: RealCluster) -> None:
    deploy(cluster, "away", 2)
    victim = cluster.running("away")[0]
    cluster.server.kill()
    cluster.bed.hosts[int(str(victim["node"])[1:]) - 1].docker("kill", str(victim["container_id"]))
    cluster.server.start()
    now = wait_until(
        lambda: [one for one in cluster.running("away") if one["uid"] != victim["uid"]][1:], 30, "it was replaced"
    )
    assert now
    remove(cluster, "away")


def test_a_killed_engine_comes_back_with_all_replicas(cluster: RealCluster) -> None:
    deploy(cluster, "engine", 3)
    deploy(cluster, "engine-retry", 3, restart={"policy": "on-failure"})
    host = cluster.bed.hosts[1]
    host.kill_engine()
    host.ready()
    for name in ("engine", "engine-retry"):
        wait_until(
            lambda name=name: {one["uid"] for one in cluster.running(name)}  # type: ignore[misc]  # a bound default
            <= {uid for one in cluster.bed.hosts for uid in cluster.containers(one)}
            and len(cluster.running(name)) == 3,
            40, f"three instances of {name} run, and each is a container of some engine", every_s=0.2,
        )  # fmt: skip
        remove(cluster, name)


def test_foreign_containers_are_never_touched_and_orphans_are_removed(cluster: RealCluster) -> None:
    host = cluster.bed.hosts[0]
    foreign = host.docker("run", "-d", "--label", "somebody=else", cluster.image).stdout.strip()
    deploy(cluster, "orphan", 3)
    mine = next(one for one in cluster.running("orphan") if one["node"] == "n1")
    cluster.kill_agent(host)
    cluster.client.delete("service", "orphan")
    cluster.start_agent(host)
    wait_until(lambda: mine["uid"] not in cluster.containers(host), 30, "the agent removed what is no longer wanted")
    assert foreign in host.docker("ps", "-q", "--no-trunc").stdout
    host.docker("rm", "-f", foreign)


def test_a_silently_lost_host_is_replaced_and_its_return_leaves_no_double(cluster: RealCluster) -> None:
    deploy(cluster, "cut", 6)
    host = cluster.bed.hosts[2]
    stale = {one["uid"] for one in cluster.running("cut") if one["node"] == "n3"}
    assert stale
    host.cut()
    cluster.wait_running("cut", 6, 20, nodes=["n1", "n2"])
    assert stale <= cluster.containers(host), "a host that is cut off goes on serving"
    host.mend()
    wait_until(lambda: not stale & cluster.containers(host), 30, "the returned host gave up what was replaced")
    cluster.wait_ready(3)
    assert len(cluster.running("cut")) == 6
    remove(cluster, "cut")


def test_a_host_without_power_is_replaced_and_joins_again(cluster: RealCluster) -> None:
    deploy(cluster, "power", 6)
    host = cluster.bed.hosts[2]
    host.cut()
    cluster.power_off(host)
    cluster.wait_running("power", 6, 30, nodes=["n1", "n2"])
    host.power_on()
    host.mend()
    host.ready()
    cluster.start_agent(host)
    cluster.wait_ready(3)
    cluster.client.scale("power", 9)
    now = cluster.wait_running("power", 9, 30)
    assert "n3" in {one["node"] for one in now}
    remove(cluster, "power")


def test_logs_and_exec_reach_across_hosts(cluster: RealCluster) -> None:
    deploy(cluster, "reach", 3)
    for one in cluster.running("reach"):
        page(one["address"])
        session = cluster.client.exec(one["name"], ["sh", "-c", "echo from $HOSTNAME; exit 7"])
        output = b"".join(session.output())
        assert output.startswith(b"from ")
        assert session.result()["exit_code"] == 7
    remove(cluster, "reach")
