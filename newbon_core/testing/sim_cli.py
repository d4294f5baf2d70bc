"""``newbon-sim``: random fault schedules by the hundred, each from one seed, and the exact replay of one of them."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import click

from newbon_core.testing.simulator import SimulationFailed
from newbon_core.testing.simulator_faults import ChaosSettings, run_chaos


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one schedule ended: ``failure`` is None, or all there is to say of it. ``digest`` differs where runs do."""

    seed: int
    failure: str | None
    steps: int = 0
    checks: int = 0
    seconds: float = 0.0
    digest: str = ""
    faults: dict[str, int] = field(default_factory=dict)


def run_seed(seed: int, settings: ChaosSettings, nodes: int | None = None) -> Outcome:
    """One schedule from its seed. What fails is in the outcome; any other exception is a bug, and is in it too."""
    logging.getLogger("newbon_core").setLevel(logging.CRITICAL)
    started = time.perf_counter()
    try:
        chaos = run_chaos(seed, settings, nodes)
    except SimulationFailed as failure:
        return Outcome(seed, str(failure), seconds=time.perf_counter() - started)
    world, oracle = chaos.simulation.world, chaos.simulation.oracle
    digest = f"{world.steps}-{world.now:.6f}-{chaos.simulation.store.inner.list('/')[1]}-{world.random.random():.12f}"
    return Outcome(seed, None, world.steps, oracle.checks, time.perf_counter() - started, digest, dict(chaos.faults))


def _run(job: tuple[int, ChaosSettings, int | None]) -> Outcome:
    return run_seed(*job)


def run_seeds(
    first: int, count: int, settings: ChaosSettings, processes: int, nodes: int | None = None
) -> Iterator[Outcome]:
    """Many schedules in several processes, as they end."""
    jobs = [(seed, settings, nodes) for seed in range(first, first + count)]
    if processes <= 1 or count <= 1:
        yield from map(_run, jobs)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap_unordered(_run, jobs)


@click.command(name="newbon-sim")
@click.option("--seeds", default=20, show_default=True, help="How many schedules to run.")
@click.option("--seed", default=0, show_default=True, help="The first one's seed; the others count up from it.")
@click.option("--hours", default=2.0, show_default=True, help="Virtual hours of faults in each schedule.")
@click.option("--nodes", default=None, type=int, help="Nodes of the cluster; without it 2 to 6, as the seed says.")
@click.option("--processes", default=None, type=int, help="How many processes; without it as many as there are cores.")
def main(seeds: int, seed: int, hours: float, nodes: int | None, processes: int | None) -> None:
    """Run simulated clusters through random faults and check after every step that nothing promised is broken."""
    started = time.perf_counter()
    settings = ChaosSettings(hours=hours)
    failed: list[int] = []
    steps = checks = faults = 0
    for outcome in run_seeds(seed, seeds, settings, processes or os.cpu_count() or 1, nodes):
        steps += outcome.steps
        checks += outcome.checks
        faults += sum(outcome.faults.values())
        if outcome.failure is not None:
            failed.append(outcome.seed)
            click.echo(f"seed {outcome.seed}: {outcome.failure}\n", err=True)
    took = time.perf_counter() - started
    click.echo(
        f"{seeds} schedules of {hours:g} h, {faults} faults, {steps} steps, {checks} writes and starts judged: "
        f"{len(failed)} failed, in {took:.1f} s"
    )
    if failed:
        click.echo(f"failing seeds: {', '.join(map(str, sorted(failed)))}")
        sys.exit(1)
