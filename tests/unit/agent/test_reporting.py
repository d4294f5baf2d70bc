"""Statuses are told until they are acknowledged."""

from __future__ import annotations

from agent_builders import Node, order

from newbon_core.agent.reporting import Reporter
from newbon_core.model.wire import ReportReply

OK = ReportReply(registered=True, heartbeat_s=2.0)


def settled() -> tuple[Node, Reporter]:
    node = Node()
    reporter = Reporter(node.executor, "boot")
    node.order(order(0), order(1))
    node.settle()
    return node, reporter


def test_the_first_report_after_settling_is_full_and_later_ones_tell_only_what_is_new() -> None:
    node, reporter = settled()
    assert reporter.due_at(node.now) == node.now
    first = reporter.report(node.now)
    assert first.full
    assert {status.name for status in first.statuses} == {"web-0", "web-1"}
    reporter.acknowledge(first, OK)
    assert reporter.due_at(node.now) == node.now + 2.0
    node.runtime.exit(node.runtime.containers()[0].id, 1)
    node.settle()
    assert reporter.due_at(node.now) == node.now
    second = reporter.report(node.now)
    assert (second.full, [status.name for status in second.statuses]) == (False, ["web-0"])


def test_before_all_is_known_no_report_claims_to_be_full() -> None:
    node = Node()
    reporter = Reporter(node.executor, "boot")
    node.settle()
    report = reporter.report(node.now)
    assert (report.full, report.statuses) == (False, ())
    reporter.acknowledge(report, OK)
    node.order()
    node.settle()
    assert reporter.due_at(node.now) == node.now
    assert reporter.report(node.now).full


def test_what_changes_while_a_report_is_on_its_way_is_told_with_the_next() -> None:
    node, reporter = settled()
    report = reporter.report(node.now)
    node.runtime.exit(node.runtime.containers()[0].id, 1)
    node.settle()
    reporter.acknowledge(report, OK)
    again = reporter.report(node.now)
    assert [(status.name, str(status.state)) for status in again.statuses] == [("web-0", "failed")]


def test_a_report_that_did_not_get_through_is_followed_by_a_full_one_ever_more_slowly() -> None:
    node, reporter = settled()
    reporter.acknowledge(reporter.report(node.now), OK)
    pauses = []
    for _ in range(8):
        reporter.report(node.now)
        reporter.failed()
        pauses.append(round(reporter.due_at(node.now) - node.now, 2))
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0]
    assert reporter.report(node.now).full


def test_a_server_that_does_not_know_the_node_is_told_everything_again() -> None:
    node, reporter = settled()
    report = reporter.report(node.now)
    reporter.acknowledge(report, ReportReply(registered=False, heartbeat_s=1.0))
    assert reporter.heartbeat_s == 1.0
    assert reporter.report(node.now).full


def test_an_engine_that_goes_away_is_told_at_once() -> None:
    node, reporter = settled()
    reporter.acknowledge(reporter.report(node.now), OK)
    node.runtime.kill_engine()
    node.executor.engine_away("docker", "its stream of events ended")
    assert reporter.due_at(node.now) == node.now
    assert reporter.report(node.now).runtime_errors == {"docker": "its stream of events ended"}
