"""``newbon get``: what is asked, and what is printed."""

from __future__ import annotations

import json

import pytest
import yaml
from cli_fakes import NOW, FakeClient, event, instance, run, service

from newbon_core.client import ApiProblem


@pytest.mark.parametrize("word", ["services", "service", "svc", "SVC"])
def test_every_name_of_a_noun_lists_it(client: FakeClient, word: str) -> None:
    assert run(client, "get", word).stdout.splitlines() == [
        "NAME  RUNNING  REVISION  AGE    IMAGE",
        "web       3/3         2  2h05m  registry.example/web:1.4",
    ]


def test_instances_are_in_the_order_of_their_numbers(client: FakeClient) -> None:
    names = [line.split()[0] for line in run(client, "get", "ins").stdout.splitlines()[1:]]
    assert names == ["web-1", "web-2", "web-10"]


def test_wide_adds_columns_and_load(client: FakeClient) -> None:
    head, first = run(client, "get", "ins", "web-1", "-o", "wide").stdout.splitlines()
    assert head.split() == [
        "NAME",
        "STATE",
        "NODE",
        "AGE",
        "REV",
        "ADDRESS",
        "PORTS",
        "CPU",
        "MEMORY",
        "IN",
        "OUT",
        "FAILURES",
        "DETAIL",
    ]
    assert "http=32768  0.12  40 MiB  2.0 KiB/s  4.8 MiB/s" in first


def test_json_is_one_list_of_exactly_the_objects_of_the_api(client: FakeClient) -> None:
    assert json.loads(run(client, "get", "nodes", "-o", "json").stdout) == client.objects["nodes"]
    assert json.loads(run(client, "get", "node", "n2", "-o", "json").stdout) == [client.objects["nodes"][1]]
    client.objects["services"] = []
    assert json.loads(run(client, "get", "svc", "-o", "json").stdout) == []


def test_a_service_as_yaml_is_its_document_and_can_be_applied_again(client: FakeClient) -> None:
    client.objects["services"].append(service("api"))
    documents = list(yaml.safe_load_all(run(client, "get", "svc", "-o", "yaml").stdout))
    assert documents == [service("api")["spec"], service("web")["spec"]]
    assert list(documents[0])[:2] == ["kind", "name"]


def test_other_kinds_as_yaml_are_one_list(client: FakeClient) -> None:
    assert yaml.safe_load(run(client, "get", "nodes", "-o", "yaml").stdout) == client.objects["nodes"]


def test_the_selector_is_asked_from_the_server(client: FakeClient) -> None:
    run(client, "get", "ins", "-l", "app=web,!old")
    assert client.called("instances") == [(None, "app=web,!old", None)]


@pytest.mark.parametrize("noun", ["events", "tokens", "revisions"])
def test_a_selector_on_what_has_no_labels_is_wrong_usage(client: FakeClient, noun: str) -> None:
    result = run(client, "get", noun, "-l", "a=b")
    assert result.exit_code == 64
    assert "have no labels" in result.stderr


def test_a_misspelt_noun_is_wrong_usage_with_the_nearest(client: FakeClient) -> None:
    result = run(client, "get", "servcies")
    assert result.exit_code == 64
    assert "did you mean services?" in result.stderr


def test_a_name_that_is_not_there_is_an_error_with_the_nearest(client: FakeClient) -> None:
    for names in (["wbe"], ["web", "wbe"]):
        result = run(client, "get", "svc", *names)
        assert result.exit_code == 1
        assert "there is no service 'wbe'" in result.stderr
        assert "did you mean web?" in result.stderr


def test_nothing_is_said_on_standard_error_only(client: FakeClient) -> None:
    client.objects["services"] = []
    result = run(client, "get", "svc")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "no services\n")


def test_the_reason_of_every_instance_that_does_not_run_is_shown(client: FakeClient) -> None:
    client.objects["instances"] = [
        instance("web-1", state="pending", node=None, waiting="no node fits: 3 of 5 memory"),
        instance("web-2", state="failed", exit_code=137, oom_killed=True),
        instance("web-3", state="stopping", reason="scaled from 5 to 2"),
    ]
    lines = run(client, "get", "ins").stdout.splitlines()
    assert lines[1].endswith("no node fits: 3 of 5 memory")
    assert lines[2].endswith("exit code 137, out of memory")
    assert lines[3].endswith("scaled from 5 to 2")


def test_a_cordoned_and_a_lost_node_are_told_apart(client: FakeClient) -> None:
    client.objects["nodes"][0]["cordoned"] = True
    client.objects["nodes"][1]["state"] = "lost"
    lines = run(client, "get", "nodes").stdout.splitlines()
    assert "ready,cordoned" in lines[1]
    assert " lost " in lines[2]


def test_a_name_after_events_selects_those_of_the_service_or_object(client: FakeClient) -> None:
    client.objects["events"] = [event(message="one"), event(message="two", name="api-1", service="api")]
    assert "two" in run(client, "get", "events", "api").stdout
    assert "one" not in run(client, "get", "events", "api").stdout


def test_escape_codes_and_markup_from_the_server_are_harmless(client: FakeClient) -> None:
    client.objects["instances"] = [instance("web-1", message="\x1b]0;owned\x07[red]boo[/red]\x1b[2J\nx")]
    stdout = run(client, "get", "ins").stdout
    assert "\x1b" not in stdout
    assert stdout.splitlines()[1].endswith("[red]boo[/red] x")


def test_a_token_that_has_expired_says_so(client: FakeClient) -> None:
    token = {
        "name": "a1",
        "role": "join",
        "node": None,
        "description": "",
        "created_at": NOW - 9,
        "expires_at": NOW - 1,
    }
    client.objects["tokens"] = [token]
    assert "expired" in run(client, "token", "list").stdout
    assert run(client, "get", "tokens").stdout == run(client, "token", "list").stdout


def test_what_the_server_refuses_is_one_sentence(client: FakeClient) -> None:
    client.problem = ApiProblem(403, "Forbidden", "a token of role viewer may not do this")
    result = run(client, "get", "svc")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[0] == "error: Forbidden: a token of role viewer may not do this"
    assert "hint: " in result.stderr
