"""``apply``, ``plan`` and ``validate``: what is sent, what is printed, how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli_fakes import SYNCED, FakeClient, instance, put, run, service

from newbon_core.client import ApiProblem

DOCUMENT = b"kind: Service\nname: web\nimage: web:1\nreplicas: -3\n"


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "web.yaml"
    path.write_bytes(DOCUMENT)
    return str(path)


def result(action: str = "created", name: str = "web", *differences: tuple[str, Any, Any]) -> dict[str, Any]:
    changed = [{"path": path, "old": old, "new": new} for path, old, new in differences]
    return {"kind": "Service", "name": name, "action": action, "differences": changed}


def test_one_file_is_sent_as_it_is(client: FakeClient, file: str) -> None:
    client.apply_answer["results"] = [result()]
    assert run(client, "apply", "-f", file).stdout == "service/web created\n"
    assert client.called("apply") == [(DOCUMENT, False)]


def test_standard_input_is_a_dash(client: FakeClient) -> None:
    run(client, "apply", "-f", "-", stdin=DOCUMENT)
    assert client.called("apply") == [(DOCUMENT, False)]


def test_a_directory_is_read_recursively_in_order_and_sent_as_one_transaction(
    client: FakeClient, tmp_path: Path
) -> None:
    below = tmp_path / "deep" / "er"
    below.mkdir(parents=True)
    (tmp_path / "a.yml").write_text("kind: Service\nname: a\n---\nkind: Service\nname: b\n")
    (below / "c.json").write_text('{"kind": "Service", "name": "c"}')
    (tmp_path / "notes.txt").write_text("not: read\n")
    run(client, "apply", "-f", str(tmp_path / "deep"), "-f", str(tmp_path / "a.yml"), "-f", str(below))
    [(documents, _)] = client.called("apply")
    assert [document["name"] for document in documents] == ["c", "a", "b"]


@pytest.mark.parametrize(("make", "says"), [(False, "no such file"), (True, "holds no document")])
def test_a_path_that_holds_nothing_is_an_error(client: FakeClient, tmp_path: Path, make: bool, says: str) -> None:
    path = tmp_path / "missing"
    if make:
        path.mkdir()
    done = run(client, "apply", "-f", str(path))
    assert done.exit_code == 1
    assert says in done.stderr


def test_what_changed_is_named(client: FakeClient, file: str) -> None:
    client.apply_answer["results"] = [result("updated", "web", ("replicas", 3, 5), ("env.A", None, "1"))]
    assert run(client, "apply", "-f", file).stdout == "service/web updated (replicas, env.A)\n"


def test_a_dry_run_says_so_and_waits_for_nothing(client: FakeClient, file: str) -> None:
    client.apply_answer["results"] = [result()]
    assert run(client, "apply", "-f", file, "--dry-run").stdout == "service/web created (dry run)\n"
    assert client.called("apply") == [(DOCUMENT, True)]
    assert run(client, "apply", "-f", file, "--dry-run", "--wait").exit_code == 64


def test_json_is_the_answer_of_the_api(client: FakeClient, file: str) -> None:
    client.apply_answer["results"] = [result()]
    assert json.loads(run(client, "apply", "-f", file, "-o", "json").stdout) == client.apply_answer


def test_every_problem_is_told_with_file_line_document_path_and_nearest_name(client: FakeClient, file: str) -> None:
    problems = [
        {"document": 0, "path": "replicas", "value": "-3", "message": "expected 0 or more", "nearest": None},
        {"document": 0, "path": "imgae", "message": "is no field of a Service", "nearest": "image"},
    ]
    client.problem = ApiProblem(422, "Not valid", "2 problems", problems)  # type: ignore[arg-type]  # typed dicts
    done = run(client, "apply", "-f", file)
    assert done.exit_code == 1
    assert done.stderr.splitlines() == [
        "error: the documents have 2 problems; nothing was changed",
        f"  {file}:4: document 1: replicas: -3: expected 0 or more",
        f"  {file}:1: document 1: imgae: is no field of a Service; did you mean image?",
    ]


def test_problems_of_several_files_name_the_file_that_each_is_in(client: FakeClient, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: Service\nname: a\n")
    (tmp_path / "b.yaml").write_text("kind: Service\nname: b\n---\nkind: Service\nname: c\nreplicas: x\n")
    problems = [{"document": 2, "path": "replicas", "message": "expected a whole number"}]
    client.problem = ApiProblem(422, "Not valid", "", problems)  # type: ignore[arg-type]  # typed dicts
    stderr = run(client, "apply", "-f", str(tmp_path)).stderr
    assert f"  {tmp_path}/b.yaml:6: document 2: replicas: expected a whole number" in stderr


def test_files_that_are_no_yaml_are_all_told_and_nothing_is_sent(client: FakeClient, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: [1,\n")
    (tmp_path / "b.yaml").write_text("a: 1\na: 2\n")
    stderr = run(client, "apply", "-f", str(tmp_path)).stderr
    assert "a.yaml" in stderr
    assert "b.yaml" in stderr
    assert client.called("apply") == []


# --- waiting -------------------------------------------------------------------------------------------------------


def waiting(client: FakeClient, *instances: dict[str, Any], **fields: Any) -> None:
    client.apply_answer["results"] = [result()]
    client.watches["/v1/services"] = [put(service(**fields)), SYNCED]
    client.watches["/v1/instances"] = [*(put(each) for each in instances), SYNCED]


def test_wait_ends_when_everything_runs_and_says_how_it_went_line_by_line(client: FakeClient, file: str) -> None:
    waiting(client, *(instance(f"web-{i}") for i in (1, 2, 3)))
    done = run(client, "apply", "-f", file, "--wait")
    assert (done.exit_code, done.stderr) == (0, "web: 3/3 running\n")


def test_the_time_is_over_and_the_reasons_are_printed(client: FakeClient, file: str) -> None:
    waiting(client, instance("web-1", state="pending", node=None, waiting="no node fits: 1 of 1 memory"), replicas=1)
    done = run(client, "apply", "-f", file, "--wait", "--timeout", "0.2s")
    assert done.exit_code == 1
    assert "error: web did not become ready within 0s" in done.stderr
    assert "web-1 pending: no node fits: 1 of 1 memory" in done.stderr
    assert "newbon explain web" in done.stderr


def test_a_failure_ends_the_wait_at_once_with_the_last_lines_of_the_log(client: FakeClient, file: str) -> None:
    failed = {"exit_code": 1, "finished_at": 2_000_000_000.0, "message": "it ended by itself"}
    waiting(client, instance("web-1", state="failed", **failed), instance("web-2", state="pending", failures=3))
    client.log["web-1"] = [b"starting\nno such fi", b"le: /etc/\x1b[31mweb.conf\n"]
    done = run(client, "apply", "-f", file, "--wait")
    assert done.exit_code == 1
    assert "error: web failed" in done.stderr
    assert "its instances failed 3 times in a row: exit code 1; it ended by itself" in done.stderr
    assert "    no such file: /etc/web.conf" in done.stderr
    assert client.called("logs") == [("web-1", {"tail": 10})]


def test_a_watch_that_is_older_than_the_apply_is_not_believed(client: FakeClient, file: str) -> None:
    waiting(client, *(instance(f"web-{i}") for i in (1, 2, 3)))
    client.apply_answer["revision"] = 99
    done = run(client, "apply", "-f", file, "--wait", "--timeout", "0.3s")
    assert done.exit_code == 1


def test_a_service_that_is_deleted_meanwhile_is_a_failure(client: FakeClient, file: str) -> None:
    waiting(client)
    client.watches["/v1/services"] = [SYNCED]
    assert "it was deleted meanwhile" in run(client, "apply", "-f", file, "--wait").stderr


# --- plan ------------------------------------------------------------------------------------------------------------


PLACEMENT = {"score": 0.93, "terms": {"score_spread": 0.83}, "nodes": 5, "feasible": 3}


def test_a_plan_without_changes_ends_with_0(client: FakeClient, file: str) -> None:
    client.plan_answer["results"] = [result("unchanged")]
    done = run(client, "plan", "-f", file)
    assert done.exit_code == 0
    assert "service/web is unchanged" in done.stdout


def test_a_plan_with_changes_shows_them_and_ends_with_2(client: FakeClient, file: str) -> None:
    changes = (("replicas", 3, 5), ("env.A", None, "x"), ("ports[1]", {"port": 1}, None))
    client.plan_answer = {
        "results": [result("updated", "web", *changes)],
        "groups": [
            {"service": "web", "revision": 3, "count": 3, "summary": "no node fits: 3 of 5 memory", "placements": [
                {"node": "n1", "placement": PLACEMENT}, {"node": "n1", "placement": PLACEMENT},
                {"node": None, "placement": None}]},
        ],
        "removals": [{"instance": "web-1", "service": "web", "node": "n2", "reason": "it is of revision 2"}],
    }  # fmt: skip
    done = run(client, "plan", "-f", file)
    assert done.exit_code == 2
    assert done.stdout.splitlines() == [
        "~ service/web would be updated",
        "    ~ replicas: 3 -> 5",
        "    + env.A: x",
        '    - ports[1]: {"port": 1}',
        "",
        "New instances",
        "SERVICE  REVISION  NODE     NEW  SCORE  BECAUSE",
        "web             3  n1         2  0.930  score_spread 0.830; 3 of 5 nodes fit",
        "web             3  no room    1      -",
        "web: no node fits: 3 of 5 memory",
        "",
        "Instances that go away",
        "INSTANCE  NODE  REASON",
        "web-1     n2    it is of revision 2",
        "",
        "Plan: 0 to create, 1 to change, 0 unchanged, 3 instances to start, 1 of them without room, 1 to go away.",
    ]


def test_a_plan_that_cannot_be_made_ends_with_1(client: FakeClient, file: str) -> None:
    client.problem = ApiProblem(503, "Not ready", "the server is starting")
    assert run(client, "plan", "-f", file).exit_code == 1


def test_a_plan_as_json_keeps_its_exit_code(client: FakeClient, file: str) -> None:
    client.plan_answer["results"] = [result("created")]
    done = run(client, "plan", "-f", file, "-o", "json")
    assert (done.exit_code, json.loads(done.stdout)) == (2, client.plan_answer)


# --- validate --------------------------------------------------------------------------------------------------------


def test_validate_asks_no_server_and_tells_every_problem(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("kind: Service\nname: Web_1\nimgae: x\n")
    (tmp_path / "worse.yaml").write_text("kind: Servce\nname: a\n")
    done = run(None, "validate", "-f", str(tmp_path))
    assert done.exit_code == 1
    assert "bad.yaml:2: document 1 (Service Web_1): name" in done.stderr
    assert "did you mean image?" in done.stderr
    assert "did you mean Service?" in done.stderr


def test_validate_is_content_with_a_sound_document(tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text("kind: Service\nname: web\nimage: web:1\n")
    done = run(None, "validate", "-f", str(tmp_path))
    assert (done.exit_code, done.stdout) == (0, "service/web is valid\n")
