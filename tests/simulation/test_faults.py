"""Hundreds of random fault schedules: the reliability test. Any that fails prints how to replay it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from newbon_core.controllers import placing
from newbon_core.model import ContainerSpec, Resources, Restart, Service
from newbon_core.model.instance import InstanceState
from newbon_core.state import fleet
from newbon_core.state.changes import Changes
from newbon_core.testing.builders import make_service
from newbon_core.testing.runtime import FakeRuntime
from newbon_core.testing.sim_cli import run_seed, run_seeds
from newbon_core.testing.simulator import Simulation, SimulationFailed
from newbon_core.testing.simulator_faults import ChaosSettings

SCHEDULES = 200
HOURS = 3.0


def test_two_hundred_schedules_of_faults_break_no_promise() -> None:
    outcomes = list(run_seeds(0, SCHEDULES, ChaosSettings(hours=HOURS), processes=2))
    failures = [outcome.failure for outcome in outcomes if outcome.failure is not None]
    assert not failures, "\n\n".join(failures[:3])
    seen = {kind for outcome in outcomes for kind in outcome.faults}
    assert len(seen) >= 15, f"only these faults ever happened: {sorted(seen)}"


def test_a_seed_is_one_exact_run_whatever_the_hash_seed() -> None:
    program = (
        "from newbon_core.testing.sim_cli import run_seed;"
        "from newbon_core.testing.simulator_faults import ChaosSettings;"
        "o = run_seed(7, ChaosSettings(hours=1.0)); print(o.digest, o.failure)"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(digests) == 1, digests


def found_within(seeds: int, **settings: float) -> str | None:
    """The first failure among so many schedules, or None."""
    for seed in range(seeds):
        outcome = run_seed(seed, ChaosSettings(hours=1.0, **settings))  # type: ignore[arg-type]
        if outcome.failure is not None:
            assert f"--seed {seed} " in outcome.failure
            return outcome.failure
    return None


def delete_before_the_backoff_is_over() -> None:
    """A service is deleted while an instance of it waits, and the server hears of it only after the wait is over."""
    cluster = Simulation(seed=1, nodes=2)
    cluster.run_for(5)
    cluster.apply(make_service("web", restart=Restart(backoff_s=10.0)))
    cluster.run_until(cluster.settled, within_s=30)
    node = next(node for node in cluster.nodes.values() if node.live())
    node.exit(node.live()[0].id, 1)
    cluster.run_until(lambda: len(cluster.instances("web")) == 2, within_s=5)
    cluster.run_for(1)
    cluster.server.watch_delay_s = (30.0, 30.0)
    cluster.delete("web")
    cluster.run_for(25)
    cluster.run_until(cluster.settled, within_s=60)


class TestPlantedBugs:
    """The simulator is only worth something if it finds what is wrong."""

    def test_writing_without_a_guard_on_the_service_is_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        delete_before_the_backoff_is_over()
        honest = Changes.require

        def careless(self: Changes, kind: type, name: str, seen: object) -> None:
            if kind is not Service:
                honest(self, kind, name, seen)  # type: ignore[arg-type]

        monkeypatch.setattr(Changes, "require", careless)
        with pytest.raises(SimulationFailed, match="was placed though its service is not in the store"):
            delete_before_the_backoff_is_over()

    def test_an_engine_that_starts_finished_containers_again_is_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        honest = FakeRuntime.start

        def eager(self: FakeRuntime, order, image_id):  # type: ignore[no-untyped-def]
            made = honest(self, order, image_id)
            ended = [one for one in self.containers() if one.state == "exited" and one.service == order.service]
            for one in ended:
                box = self._boxes[one.id]
                self.remove(one.id)
                honest(self, box.order, image_id)
            return made

        monkeypatch.setattr(FakeRuntime, "start", eager)
        failure = found_within(10)
        assert failure is not None
        assert "started again" in failure or "its container runs" in failure or "two containers" in failure

    def test_late_reports_that_overwrite_newer_ones_are_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fleet, "supersedes", lambda new, stored: new != stored)
        failure = found_within(20)
        assert failure is not None
        assert "is told to be" in failure or "back to" in failure

    def test_placing_without_reserving_room_is_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        honest = placing._request

        def greedy(service: Service, count: int, now: float):  # type: ignore[no-untyped-def]
            request = honest(service, count, now)
            container = honest(service, count, now).container
            free = placing.replace(container, resources=type(container.resources)(), ports=())
            return placing.replace(request, container=free)

        monkeypatch.setattr(placing, "_request", greedy)
        cluster = Simulation(seed=1, nodes=2)
        cluster.run_for(5)
        hungry = ContainerSpec(image="app", resources=Resources(cpu_millis=3000))
        cluster.apply(Service(name="big", container=hungry, replicas=4))
        with pytest.raises(SimulationFailed, match="is wanted there"):
            cluster.run_for(30)

    def test_forgetting_what_was_acknowledged_is_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            fleet.Fleet,
            "_write_statuses",
            lambda self, node, statuses, now: None,
        )
        failure = found_within(3)
        assert failure is not None
        assert "was acknowledged, the store has" in failure
        assert InstanceState.RUNNING.value in failure or "pulling" in failure or "starting" in failure
