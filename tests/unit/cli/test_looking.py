"""``describe`` and ``explain``."""

from __future__ import annotations

import json
from typing import Any

from cli_fakes import NOW, FakeClient, explanation, instance, run, service


def test_a_service_is_described_with_its_document_instances_and_events(client: FakeClient) -> None:
    stdout = run(client, "describe", "svc", "web").stdout
    for part in ("Running:  3 of 3", "2h05m ago", "by admin", "  kind: Service", "Instances (3)", "placed on n1"):
        assert part in stdout
    assert client.called("events") == [({"service": "web", "limit": 10},)]


def test_an_instance_is_described_with_why_it_is_where_it_is(client: FakeClient) -> None:
    client.objects["instances"] = [instance(state="failed", exit_code=137, oom_killed=True, failures=2)]
    stdout = run(client, "describe", "instance", "web-1").stdout
    for part in ("exit code 137, out of memory", "2 in a row", "score 0.930 = score_spread 0.830 + score_binpack 0.100",
                 "rejected: 1 by memory", "next best: n2 with 0.700", "40 MiB"):  # fmt: skip
        assert part in stdout


def test_a_node_that_has_never_been_heard_is_described_too(client: FakeClient) -> None:
    client.objects["nodes"][0] |= {
        "usage": None,
        "last_heard": None,
        "state": "unready",
        "state_reason": "no agent yet",
    }
    stdout = run(client, "describe", "no", "n1").stdout
    for part in ("Last heard:  never", "no agent yet", "6.5 of 8 cores not reserved", "  zone: a"):
        assert part in stdout


def test_a_revision_is_described_by_service_and_number(client: FakeClient) -> None:
    made: dict[str, Any] = {"service": "web", "image": "web:1", "created_at": NOW - 5, "created_by": "me",
                            "spec": service()["spec"]}  # fmt: skip
    client.objects["revisions"] = [
        made | {"name": "web/000001", "number": 1, "current": False},
        made | {"name": "web/000002", "number": 2, "current": True},
    ]
    assert "Revision: 2 (current)" in run(client, "describe", "rev", "web/2").stdout
    assert run(client, "describe", "rev", "web").stdout.count("Document") == 2
    assert "has no revision '7'" in run(client, "describe", "rev", "web/7").stderr


def test_a_kind_that_cannot_be_described_is_wrong_usage(client: FakeClient) -> None:
    assert run(client, "describe", "tokens", "a").exit_code == 64


def test_explain_shows_scores_with_weights_and_every_reason_with_amounts(client: FakeClient) -> None:
    assert run(client, "explain", "web").stdout.splitlines() == [
        "Where the next instance of web would go",
        "NODE  VERDICT      SPREAD      BINPACK  TOTAL",
        "n1    passed    0.830 x 1  0.200 x 0.5  0.930",
        "n2    rejected  memory: needs 512 MiB, 300 MiB free",
        "                newbon: cordoned",
        "To change that: free 212 MiB on n2, or uncordon it",
    ]


def test_explain_tells_of_a_score_that_was_left_out(client: FakeClient) -> None:
    client.explained = explanation(notes=["the score score_spread was left out: ValueError: no"])
    assert run(client, "explain", "web").stdout.splitlines()[-1] == (
        "Note: the score score_spread was left out: ValueError: no"
    )


def test_an_instance_is_explained_by_its_kept_placement_first(client: FakeClient) -> None:
    stdout = run(client, "explain", "web-1").stdout
    assert stdout.index("web-1 was placed on n1") < stdout.index("score 0.930") < stdout.index("n2    rejected")
    assert client.called("explain") == [("instance", "web-1")]


def test_an_instance_without_a_node_says_why_it_waits(client: FakeClient) -> None:
    client.objects["instances"] = [instance(node=None, state="pending", placement=None, waiting="no node fits")]
    assert "web-1 has no node: no node fits" in run(client, "explain", "web-1").stdout


def test_many_nodes_are_cut_to_the_best_unless_all_are_wanted(client: FakeClient) -> None:
    best = explanation()["nodes"][0]
    client.explained = explanation(nodes=[best | {"node": f"n{i}", "total": i / 100} for i in range(50)])
    stdout = run(client, "explain", "web").stdout
    assert "n49 " in stdout.splitlines()[2]
    assert "… and 30 more nodes that passed (--all shows them)" in stdout
    assert len(run(client, "explain", "web", "--all").stdout.splitlines()) == 53


def test_a_kind_may_be_given_in_either_spelling(client: FakeClient) -> None:
    for words in (["svc", "web"], ["service/web"], ["instance", "web-2"], ["ins/web-2"]):
        assert run(client, "explain", *words).exit_code == 0
    assert client.called("explain") == [("service", "web")] * 2 + [("instance", "web-2")] * 2
    assert run(client, "explain", "node", "n1").exit_code == 64


def test_a_name_of_nothing_suggests_the_nearest(client: FakeClient) -> None:
    stderr = run(client, "explain", "web-11").stderr
    assert "there is no service or instance 'web-11'" in stderr
    assert "did you mean web-1" in stderr


def test_explain_as_json_is_the_answer_of_the_api(client: FakeClient) -> None:
    assert json.loads(run(client, "explain", "web", "-o", "json").stdout) == client.explained
