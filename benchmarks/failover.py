"""A host of three is killed silently (link cut, then power off) with ten of thirty containers: until all run again.

Newbon with its default detection (10 s) and with heartbeat 1 s and lost after 3 s; with ``--swarm`` also Docker Swarm,
as it comes and tuned to a heartbeat of 1 s. The cut comes when the fleet has been quiet for a while, at moments that
are spread evenly between two heartbeats: what was heard last is as old as chance would have it.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from functools import partial

from _engines import PORTS, Swarm, conditions, median_of, watch_running
from _report import report

from newbon_core.testing.cluster import RealCluster, service_document
from newbon_core.testing.images import ensure_test_image
from newbon_core.testing.testbed import Testbed, wait_until

REPLICAS = 30
QUIET_S = 2.0


def quiet_down(heartbeat_s: float, phase: float) -> None:
    """Wait so that the cut comes the ``phase`` (0 to 1) of a heartbeat after one."""
    # The last container's start was told just now, and heartbeats go on from there.
    beats = math.ceil(QUIET_S / heartbeat_s)
    time.sleep((beats + phase) * heartbeat_s)


def newbon_failover(heartbeat_s: float, lost_after_s: float, phase: float) -> float:
    """Seconds from the cut until thirty instances run on the two hosts that are left."""
    with RealCluster(hosts=3, heartbeat_s=heartbeat_s, lost_after_s=lost_after_s) as cluster:
        cluster.client.apply([service_document("bench", REPLICAS, cluster.image, ports=PORTS)])
        watch_running(cluster, "bench", REPLICAS, 120)
        quiet_down(heartbeat_s, phase)
        victim = cluster.bed.hosts[2]
        begin = time.monotonic()
        victim.cut()
        cluster.power_off(victim)
        watch_running(cluster, "bench", REPLICAS, 120, nodes=["n1", "n2"])
        return time.monotonic() - begin


def swarm_failover(heartbeat: str | None, options: tuple[str, ...], phase: float) -> float:
    """The same with Docker Swarm."""
    with Testbed(hosts=3) as bed:
        image = ensure_test_image(bed.hosts[0].engine_url)
        archive = bed.directory / "image.tar"
        bed.hosts[0].docker("save", "-o", str(archive), image)
        bed.load_image(archive)
        with Swarm(bed, heartbeat=heartbeat) as swarm:
            swarm.create("bench", image, REPLICAS, *options)
            wait_until(lambda: swarm.running("bench") == REPLICAS, 120, "all tasks run", every_s=0.1)
            quiet_down(1.0 if heartbeat else 5.0, phase)
            begin = time.monotonic()
            bed.hosts[2].cut()
            bed.hosts[2].power_off()

            def elsewhere() -> bool:
                hosts = bed.hosts[:2]
                names = [h.docker("ps", "-q", "--filter", "label=com.docker.swarm.service.name=bench") for h in hosts]
                return sum(len(done.stdout.split()) for done in names) == REPLICAS

            wait_until(elsewhere, 120, "all tasks run elsewhere", every_s=0.05)
            return time.monotonic() - begin


def at_all_phases(runs: int, measure: Callable[[float], float]) -> tuple[float, list[float]]:
    """The median of so many runs, and all of them, with the cut at phases that are spread evenly."""
    phases = iter([(number + 0.5) / runs for number in range(runs)])
    return median_of(runs, lambda: measure(next(phases)))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--swarm", action="store_true", help="measure Docker Swarm too")
    arguments = parser.parse_args()
    cases: dict[str, tuple[str, Callable[[float], float]]] = {
        "failover_default_s": ("Newbon, heartbeat 2 s, lost after 10 s", partial(newbon_failover, 2, 10)),
        "failover_tuned_s": ("Newbon, heartbeat 1 s, lost after 3 s", partial(newbon_failover, 1, 3)),
    }
    if arguments.swarm:
        cases["failover_swarm_default_s"] = ("Swarm, as it comes", partial(swarm_failover, None, ()))
        tuned = ("--restart-delay", "0s")
        cases["failover_swarm_tuned_s"] = ("Swarm, heartbeat 1 s, no delay", partial(swarm_failover, "1s", tuned))
    measured = {metric: (title, *at_all_phases(arguments.runs, run)) for metric, (title, run) in cases.items()}
    report(
        "a host of three killed silently, 10 of 30 containers on it -> all 30 running (seconds; median, then each run)",
        conditions() | {"hosts": 3, "runs": arguments.runs, "store": "sqlite"},
        [(title, f"{middle:.2f}", *(f"{one:.2f}" for one in runs)) for title, middle, runs in measured.values()],
        {metric: middle for metric, (_, middle, _) in measured.items()},
        json=arguments.json,
    )


if __name__ == "__main__":
    main()
