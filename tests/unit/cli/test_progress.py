"""How far a service is."""

from __future__ import annotations

import io
from typing import Any

import pytest
from cli_fakes import NOW, SYNCED, instance, put, service
from rich.console import Console

from newbon_core.cli.progress import judge
from newbon_core.cli.waiting import Wait, render


def three(**last: Any) -> list[dict[str, Any]]:
    return [instance("web-1"), instance("web-2"), instance("web-3", **last)]


def of_policy(policy: str) -> dict[str, Any]:
    return service(spec={"restart": {"policy": policy}})


def test_a_service_is_done_when_all_replicas_run_in_its_revision() -> None:
    assert judge(service(), three()).outcome == "done"


@pytest.mark.parametrize("state", ["pending", "assigned", "pulling", "starting", "stopping"])
def test_it_waits_for_an_instance_on_its_way(state: str) -> None:
    found = judge(service(), three(state=state))
    assert (found.outcome, found.summary) == ("waiting", f"2/3 running, 1 {state}")


def test_instances_of_an_older_revision_have_to_go_first() -> None:
    found = judge(service(), [*three(), instance("web-4", revision=1)])
    assert (found.outcome, found.summary) == ("waiting", "3/3 running, 1 to be replaced")
    assert judge(service(), [*three(), instance("web-4", revision=1, state="stopped")]).outcome == "done"


def test_scaling_in_is_done_when_the_surplus_is_gone() -> None:
    assert judge(service(replicas=2), three()).summary == "2/2 running, 1 to be stopped"
    assert judge(service(replicas=0), []).outcome == "done"


def test_why_an_instance_waits_is_told_once_for_all_that_wait_for_the_same() -> None:
    waiting = {"state": "pending", "node": None, "waiting": "no node fits"}
    found = judge(service(), [instance(f"web-{i}", **waiting) for i in (1, 2, 3)])
    assert found.details == ("web-1 and 2 more pending: no node fits",)


def test_a_service_that_keeps_failing_has_failed_though_it_is_started_again() -> None:
    items = [
        instance("web-1", state="failed", exit_code=1, finished_at=NOW, message="no such file"),
        instance("web-2", state="pending", failures=3),
    ]
    found = judge(service(replicas=1), items)
    assert found.outcome == "failed"
    assert found.reason == "its instances failed 3 times in a row: exit code 1; no such file"
    assert found.culprits == ("web-1",)


def test_what_never_started_tells_why_too() -> None:
    never = {"started_at": None, "finished_at": None, "container_id": None, "placed_at": NOW + 1}
    items = [
        instance("web-1", state="failed", message="the image has no program '/x'", **never),
        instance("web-2", state="pending", failures=3),
    ]
    found = judge(service(replicas=1), items, NOW)
    assert found.reason == "its instances failed 3 times in a row: the image has no program '/x'"
    assert found.culprits == ("web-1",)


def test_two_failures_are_not_yet_a_verdict() -> None:
    assert judge(service(replicas=1), [instance("web-2", state="pending", failures=2)]).outcome == "waiting"


def test_without_restarts_the_first_failure_is_the_verdict() -> None:
    items = [instance("web-1", state="failed", exit_code=3, finished_at=NOW)]
    found = judge(of_policy("never") | {"replicas": 1}, items)
    assert (found.outcome, found.reason) == ("failed", "web-1 failed and is not restarted: exit code 3")


@pytest.mark.parametrize(("policy", "outcome"), [("never", "done"), ("on-failure", "done"), ("always", "waiting")])
def test_work_that_has_ended_well_counts_unless_it_should_run_always(policy: str, outcome: str) -> None:
    items = [instance("web-1", state="stopped", exit_code=0)]
    assert judge(of_policy(policy) | {"replicas": 1}, items).outcome == outcome


def test_failures_of_before_the_apply_are_no_culprits() -> None:
    items = [instance("web-1", state="failed", finished_at=NOW - 50), *three()]
    assert judge(service(), items, NOW).culprits == ()


def test_an_instance_that_failed_often_and_runs_now_is_well() -> None:
    assert judge(service(), three(failures=9)).outcome == "done"


def test_on_a_terminal_each_service_has_a_bar_and_below_it_what_does_not_run_yet() -> None:
    wait = Wait(["web", "api"], 0, 0.0, 100.0)
    waiting = {"state": "pending", "node": None, "waiting": "no node fits " * 20}
    for which, event in (
        ("services", put(service("web"))), ("services", put(service("api", replicas=2))), ("services", SYNCED),
        *(("instances", put(item)) for item in three()), ("instances", put(instance("api-1"))),
        ("instances", put(instance("api-2", **waiting))), ("instances", SYNCED),
    ):  # fmt: skip
        wait.take(which, event)
    console = Console(file=io.StringIO(), width=70, force_terminal=True, color_system=None)
    console.print(render(wait.progress(103.0), wait, 104.0, 70))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]  # it is the StringIO above
    assert lines[0] == "✓ web  ━━━━━━━━━━━━━━━━━━━━  3/3 running  3s"
    assert lines[1] == "· api  ━━━━━━━━━━──────────  1/2 running, 1 pending  4s"
    assert lines[2].startswith("    api-2 pending: no node fits")
    assert len(lines[2]) == 70
