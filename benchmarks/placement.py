"""How fast instances are placed in memory: the real plugin host, hooks and default plugins, and the reservations.

Each figure is the median of several runs; each run starts from an empty fleet, after one run that is not counted.
``--quick`` runs once.
"""

from __future__ import annotations

import gc
import resource
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import newbon_filter_constraints
import newbon_filter_resources
import newbon_score_spread
from _report import arguments, report

from newbon_core.hooks.host import PluginHost
from newbon_core.hooks.types import PlacementRequest
from newbon_core.model import ContainerSpec, Instance, Node, NodeStatus, Resources, RevisionSpec, Schedule
from newbon_core.scheduler import GroupPlacement, Scheduler
from newbon_core.scheduler.group import Share

Placed = Sequence[GroupPlacement | Share]
MIB, GIB = 1 << 20, 1 << 30
CONTAINER = ContainerSpec(image="bench", resources=Resources(cpu_millis=100, memory_bytes=128 * MIB))


@dataclass(frozen=True)
class Case:
    """One line of the table. ``run(scheduler)`` places ``instances``; ``target`` is instances per second."""

    metric: str
    title: str
    nodes: int
    instances: int
    run: Callable[[Scheduler], Placed]
    target: int
    rival: str


def host() -> PluginHost:
    """The default plugin set."""
    return PluginHost.of(
        filter_constraints=newbon_filter_constraints,
        filter_resources=newbon_filter_resources,
        score_spread=newbon_score_spread,
    )


def fleet(nodes: int) -> Scheduler:
    """Nodes of 64 cores and 256 GiB in three zones of ten racks each."""
    scheduler = Scheduler(host())
    for number in range(nodes):
        name = f"node-{number:05d}"
        labels = {"zone": f"z{number % 3}", "rack": f"r{number % 30}"}
        told = NodeStatus(name=name, cpu_millis=64_000, memory_bytes=256 * GIB, runtimes={"docker": "27.0"})
        scheduler.table.upsert_node(Node(name=name, labels=labels), told)
    return scheduler


def one_service(count: int, spread: tuple[str, ...] = ("node",)) -> Callable[[Scheduler], Placed]:
    """Place one service of ``count`` replicas under names."""
    names = [f"web-{number}" for number in range(count)]
    request = PlacementRequest(
        service="web", revision=1, container=CONTAINER, schedule=Schedule(spread=spread), count=count
    )
    return lambda scheduler: [scheduler.place(request, names)]


def many_services(count: int) -> Callable[[Scheduler], Placed]:
    """Place ``count`` services of one replica each under names, all at once, as the control loop does."""
    wanted = [
        (PlacementRequest(service=f"s{number}", revision=1, container=CONTAINER), [f"s{number}-0"])
        for number in range(count)
    ]
    return lambda scheduler: scheduler.place_many(wanted)


def many_services_singly(count: int) -> Callable[[Scheduler], Placed]:
    """The same one after another, as where no two of them are alike."""
    wanted = [
        (PlacementRequest(service=f"s{number}", revision=1, container=CONTAINER), [f"s{number}-0"])
        for number in range(count)
    ]
    return lambda scheduler: [scheduler.place(request, names) for request, names in wanted]


CASES = (
    Case(
        "placement_1000_nodes_100000_of_one_service_per_s",
        "one service of 100,000",
        1_000,
        100_000,
        one_service(100_000),
        200_000,
        "swarmkit 2,800 /s",
    ),
    Case(
        "placement_5000_nodes_one_service_of_1000_per_s",
        "one service of 1,000",
        5_000,
        1_000,
        one_service(1_000),
        200_000,
        "Nomad 4,280 /s, kube-scheduler 550 /s",
    ),
    Case(
        "placement_5000_nodes_1000_services_of_one_per_s",
        "1,000 services of one",
        5_000,
        1_000,
        many_services(1_000),
        5_000,
        "Nomad 500 /s, kube-scheduler 550 /s",
    ),
    Case(
        "placement_5000_nodes_1000_services_of_one_singly_per_s",
        "1,000 services of one, asked one by one",
        5_000,
        1_000,
        many_services_singly(1_000),
        5_000,
        "Nomad 500 /s, kube-scheduler 550 /s",
    ),
    Case(
        "placement_5000_nodes_one_service_of_1000_over_zones_per_s",
        "one service of 1,000, spread: [zone, rack, node]",
        5_000,
        1_000,
        one_service(1_000, ("zone", "rack", "node")),
        0,
        "kube-scheduler with topology spread 225 /s",
    ),
)


def measure(case: Case, runs: int) -> tuple[float, str]:
    """Median seconds of a case and how even the outcome is."""
    # What is loaded and allocated once in a process is not a placement's cost.
    case.run(fleet(case.nodes))
    seconds = []
    for _ in range(runs):
        scheduler = fleet(case.nodes)
        # Garbage of the last run is not this one's cost.
        gc.collect()
        began = time.perf_counter()
        groups = case.run(scheduler)
        seconds.append(time.perf_counter() - began)
        placed = Counter(name for group in groups for name in group.nodes)
        if placed[None] or sum(placed.values()) != case.instances:
            raise SystemExit(f"{case.title}: {placed[None]} instances found no node")
    shares = [placed[name] for name in scheduler.table.nodes.names]
    return statistics.median(seconds), f"{min(shares)}-{max(shares)}"


def table_memory(nodes: int, instances: int) -> float:
    """MiB that a table of nodes and instances of 1,000 services takes over what they are themselves."""
    told = [
        Instance(
            name=f"s{number % 1000}-{number // 1000}",
            uid="",
            service=f"s{number % 1000}",
            number=number // 1000,
            revision=1,
            node=f"node-{number % nodes:05d}",
        )
        for number in range(instances)
    ]
    spec = RevisionSpec("s", 1, CONTAINER, Schedule())
    gc.collect()
    before = resident_bytes()
    scheduler = fleet(nodes)
    for one in told:
        scheduler.table.upsert_instance(one, spec)
    gc.collect()
    return (resident_bytes() - before) / MIB


def resident_bytes() -> int:
    """Memory of this process."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def main() -> None:
    """Run all cases."""
    parser = arguments(__doc__)
    parser.add_argument("--quick", action="store_true", help="one run of each case")
    options = parser.parse_args()
    runs = 1 if options.quick else 7
    rows: list[list[object]] = []
    metrics: dict[str, float] = {}
    memory = table_memory(5_000, 100_000)
    for case in CASES:
        seconds, shares = measure(case, runs)
        metrics[case.metric] = case.instances / seconds
        target = f"{case.target:,}" if case.target else "-"
        rows.append([case.title, case.nodes, seconds, case.instances / seconds, target, shares, case.rival])
    metrics["placement_1000_nodes_100000_of_one_service_s"] = 100_000 / metrics[CASES[0].metric]
    metrics["table_memory_5000_nodes_100000_instances_mib"] = memory
    rows.append(["table of 100,000 instances", 5_000, "-", "-", "-", "-", f"{memory:.0f} MiB"])
    conditions = {
        "plugins": ", ".join(info.name for info in host().plugins),
        "runs": f"{runs}, median; reservations under names included",
    }
    heading = ("case", "nodes", "seconds", "placed /s", "target /s", "per node", "rivals")
    report("placement in memory", conditions, rows, metrics, options.json, heading)


if __name__ == "__main__":
    main()
