"""``scale``, ``delete``, ``cordon``, ``label``, ``taint`` and ``token``."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_fakes import NOW, FakeClient, run, service


def test_scale_sets_several_services_and_says_from_what(client: FakeClient) -> None:
    client.objects["services"].append(service("api", replicas=2))
    done = run(client, "scale", "web=5", "api=2")
    assert done.stdout.splitlines() == ["service/web scaled from 3 to 5", "service/api unchanged (2 replicas)"]
    assert client.called("scale") == [("web", 5)]


@pytest.mark.parametrize("word", ["web", "web=", "=3", "web=-1", "web=x", "web=1.5", "web=²", "web=9999999"])
def test_a_scale_that_cannot_be_read_is_wrong_usage(client: FakeClient, word: str) -> None:
    assert run(client, "scale", word).exit_code == 64
    assert client.called("scale") == []


def test_nothing_is_scaled_when_one_name_is_wrong(client: FakeClient) -> None:
    assert run(client, "scale", "web=5", "aip=2").exit_code == 1
    assert client.called("scale") == []


def test_delete_takes_kinds_and_names(client: FakeClient) -> None:
    done = run(client, "delete", "ins", "web-1", "web-2")
    assert done.stdout.splitlines()[0] == "instance/web-1 deleted; it is replaced by a new one"
    assert client.called("delete") == [("instance", "web-1"), ("instance", "web-2")]


def test_delete_by_documents(client: FakeClient, tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text("kind: Service\nname: web\nimage: x\n")
    assert run(client, "delete", "-f", str(tmp_path)).stdout == "service/web deleted\n"
    (tmp_path / "node.yaml").write_text("kind: Node\nname: n1\n")
    assert "only documents of kind Service" in run(client, "delete", "-f", str(tmp_path)).stderr
    assert client.called("delete") == [("service", "web")]


def test_nothing_is_deleted_when_one_name_is_wrong(client: FakeClient) -> None:
    assert run(client, "delete", "svc", "web", "nope").exit_code == 1
    assert client.called("delete") == []
    assert run(client, "delete", "svc", "web", "nope", "--ignore-missing").exit_code == 0
    assert client.called("delete") == [("service", "web")]


@pytest.mark.parametrize("words", [[], ["svc"], ["events", "a"], ["svc", "web", "-f", "x"]])
def test_a_delete_of_nothing_is_wrong_usage(client: FakeClient, words: list[str]) -> None:
    assert run(client, "delete", *words).exit_code == 64


def test_cordon_and_uncordon(client: FakeClient) -> None:
    client.objects["nodes"][1]["cordoned"] = True
    assert run(client, "cordon", "n1", "n2").stdout.splitlines() == ["node/n1 cordoned", "node/n2 is cordoned already"]
    assert run(client, "uncordon", "n2").stdout == "node/n2 uncordoned\n"
    assert client.called("cordon") == [("n1", True), ("n2", False)]


def test_labels_are_set_and_removed(client: FakeClient) -> None:
    assert run(client, "label", "n1", "zone=b", "old-").stdout == "node/n1 labelled: zone=b\n"
    assert run(client, "label", "node", "n1", "disk=ssd").exit_code == 0
    assert client.called("node_patch") == [
        ("n1", {"labels": {"zone": "b", "old": None}}), ("n1", {"labels": {"disk": "ssd"}}),
    ]  # fmt: skip


def test_taints_keep_what_is_not_named(client: FakeClient) -> None:
    client.objects["nodes"][0]["taints"] = [{"key": "gpu", "value": "a"}, {"key": "old", "value": ""}]
    run(client, "taint", "n1", "gpu=b", "old-", "new=")
    wanted = [{"key": "gpu", "value": "b"}, {"key": "new", "value": ""}]
    assert client.called("node_patch") == [("n1", {"taints": wanted})]


@pytest.mark.parametrize("word", ["zone", "=a", "-"])
def test_a_label_that_cannot_be_read_is_wrong_usage(client: FakeClient, word: str) -> None:
    assert run(client, "label", "n1", word).exit_code == 64


def test_a_token_is_printed_once_and_alone_on_standard_output(client: FakeClient) -> None:
    done = run(client, "token", "create", "--role", "join", "--expires", "1h", "--description", "rack 3")
    assert done.stdout == "abc.secret\n"
    assert "not shown again" in done.stderr
    wanted = {"node": None, "description": "rack 3", "expires_at": NOW + 3600}
    assert client.called("create_token") == [("join", wanted)]


def test_an_agents_token_needs_its_node_and_no_other_may_have_one(client: FakeClient) -> None:
    assert run(client, "token", "create", "--role", "agent").exit_code == 64
    assert run(client, "token", "create", "--role", "admin", "--node", "n1").exit_code == 64


def test_tokens_are_deleted_by_id_and_never_by_their_secret(client: FakeClient) -> None:
    client.objects["tokens"] = [{"name": "abc", "role": "join"}]
    assert run(client, "token", "delete", "abc").exit_code == 0
    assert "only the part before the dot" in run(client, "token", "delete", "abc.secret").stderr
    assert "there is no token 'abd'" in run(client, "token", "delete", "abd").stderr
    assert client.called("delete_token") == [("abc",)]
