"""Thirty replicas of a ready image on three real hosts: Newbon, the plain Docker SDK and Docker Swarm in turn.

All three order the same containers from the same engines in the same run; the median of the runs counts. Newbon and the
SDK take turns, so that whatever else the machine does meets both; Swarm comes last, for it changes the engines. Before
each run there is a pause, so that none pays for what the engines still do about the containers of the one before it.
"""

from __future__ import annotations

import argparse
import statistics
import time

from _engines import Swarm, conditions, newbon_start, sdk_start
from _report import report

from newbon_core.testing.cluster import RealCluster

SETTLE_S = 2.0


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--replicas", type=int, default=30)
    arguments = parser.parse_args()
    with RealCluster(hosts=3) as cluster:
        newbon_start(cluster, 3)
        newbon_runs: list[float] = []
        sdk_runs: list[float] = []
        for _ in range(arguments.runs):
            time.sleep(SETTLE_S)
            newbon_runs.append(newbon_start(cluster, arguments.replicas))
            time.sleep(SETTLE_S)
            sdk_runs.append(sdk_start(cluster.bed, cluster.image, arguments.replicas, threads=8))
        with Swarm(cluster.bed) as swarm:
            swarm_runs = []
            for _ in range(arguments.runs):
                time.sleep(SETTLE_S)
                swarm_runs.append(swarm.start(cluster.image, arguments.replicas))
    newbon, sdk, swarm_median = (statistics.median(runs) for runs in (newbon_runs, sdk_runs, swarm_runs))
    rows = [
        ("Newbon: apply -> all running", newbon, *newbon_runs),
        ("plain Docker SDK, 8 threads", sdk, *sdk_runs),
        ("Docker Swarm: create -> all running", swarm_median, *swarm_runs),
    ]
    report(
        "30 replicas on three real hosts (seconds; median, then each run)",
        conditions() | {"replicas": arguments.replicas, "hosts": 3, "runs": arguments.runs, "store": "sqlite"},
        [(name, *(f"{value:.2f}" for value in values)) for name, *values in rows],
        {
            "hosts_newbon_start_30_s": newbon,
            "hosts_sdk_start_30_s": sdk,
            "hosts_swarm_start_30_s": swarm_median,
            "hosts_newbon_to_sdk_ratio": newbon / sdk,
            "hosts_newbon_to_swarm_ratio": newbon / swarm_median,
        },
        json=arguments.json,
    )


if __name__ == "__main__":
    main()
