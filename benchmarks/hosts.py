"""Thirty replicas of a ready image on three real hosts: Newbon, the plain Docker SDK and Docker Swarm in turn.

All three order the same containers from the same engines in the same run; the median of the runs counts. Newbon and the
SDK take turns, so that whatever else the machine does meets both; Swarm comes last, for it changes the engines.
"""

from __future__ import annotations

import argparse
import statistics

from _engines import Swarm, conditions, median_of, newbon_start, sdk_start
from _report import report

from newbon_core.testing.cluster import RealCluster


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
            newbon_runs.append(newbon_start(cluster, arguments.replicas))
            sdk_runs.append(sdk_start(cluster.bed, cluster.image, arguments.replicas, threads=8))
        newbon, sdk = statistics.median(newbon_runs), statistics.median(sdk_runs)
        with Swarm(cluster.bed) as swarm:
            swarm_median, swarm_runs = median_of(arguments.runs, lambda: swarm.start(cluster.image, arguments.replicas))
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
