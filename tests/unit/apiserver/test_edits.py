"""Changing single things: services, replicas, instances, nodes; and ETags that guard against the changes of others."""

from __future__ import annotations

from typing import Any

import pytest
from api_builders import Api, problem

from newbon_core.model import InstanceState, Node, NodeState
from newbon_core.store.base import TxnResult


def test_a_service_is_put_shown_and_deleted(api: Api) -> None:
    made = api.ask("PUT", "/v1/services/web", {"image": "shop/web:1"})
    assert made.status_code == 201
    shown = api.get("/v1/services/web")
    assert shown.headers["ETag"] == made.headers["ETag"]
    assert shown.json["spec"] == {"kind": "Service", "name": "web", "image": "shop/web:1"}  # type: ignore[index]  # JSON
    assert api.ask("DELETE", "/v1/services/web").status_code == 204
    problem(api.get("/v1/services/web"), 404)


@pytest.mark.parametrize("body", [{"kind": "Node"}, {"name": "other", "image": "x"}, [], None, "x", {"image": 1}])
def test_what_is_put_must_be_the_service_that_the_path_names(api: Api, body: object) -> None:
    problem(api.ask("PUT", "/v1/services/web", body if body is not None else [None]), 422)
    assert not api.cache.services


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/v1/services/web", {"image": "shop/web:2"}),
        ("PUT", "/v1/services/web/replicas", {"replicas": 5}),
        ("DELETE", "/v1/services/web", None),
        ("DELETE", "/v1/instances/web-1", None),
        ("PATCH", "/v1/nodes/n1", {"cordoned": True}),
        ("DELETE", "/v1/nodes/n1", None),
    ],
)
def test_if_match_refuses_what_was_decided_from_the_past(api: Api, method: str, path: str, body: object) -> None:
    api.service("web")
    api.instance(1, node=None)
    api.node("n1")
    thing = path.removesuffix("/replicas")
    tag = api.get(thing).headers["ETag"]
    before = api.store.revision
    refused = api.ask(method, path, body, headers={"If-Match": '"1"'})
    problem(refused, 412)
    assert refused.headers["ETag"] == tag
    assert api.store.revision == before
    assert api.ask(method, path, body, headers={"If-Match": f'"x", {tag}'}).status_code in (200, 204)
    assert api.store.revision > before


def test_if_match_never_creates(api: Api) -> None:
    problem(api.ask("PUT", "/v1/services/web", {"image": "x"}, headers={"If-Match": "*"}), 412)


def test_a_change_is_decided_anew_when_another_was_faster(api: Api) -> None:
    api.service("web", replicas=1)
    faster = [3]
    txn = api.store.txn

    def meanwhile(*arguments: Any) -> Any:
        if faster:
            replicas = faster.pop()
            api.service("web", replicas=replicas, labels={"by": "another"})
        return txn(*arguments)

    api.store.txn = meanwhile  # type: ignore[method-assign]  # somebody writes just before us
    assert api.ask("PUT", "/v1/services/web/replicas", {"replicas": 7}).status_code == 200
    service = api.cache.services["web"].value
    assert (service.replicas, service.labels) == (7, {"by": "another"})


def test_scaling_does_not_make_a_revision(api: Api) -> None:
    api.service("web")
    scaled: Any = api.ask("PUT", "/v1/services/web/replicas", {"replicas": 5}).json
    assert (scaled["replicas"], scaled["revision"]) == (5, 1)
    before = api.store.revision
    api.ask("PUT", "/v1/services/web/replicas", {"replicas": 5})
    assert api.store.revision == before, "nothing to do writes nothing"


@pytest.mark.parametrize("replicas", [-1, 1.5, "3", None, True, 10**30])
def test_impossible_numbers_of_replicas_are_refused(api: Api, replicas: object) -> None:
    api.service("web")
    problem(api.ask("PUT", "/v1/services/web/replicas", {"replicas": replicas}), 422)


def test_a_deleted_service_leaves_its_version_for_stopping_its_instances(api: Api) -> None:
    api.service("web")
    api.instance(1)
    api.ask("DELETE", "/v1/services/web")
    assert "web/000001" in api.cache.revisions


def test_a_service_made_again_does_not_take_old_instances_for_its_own(api: Api) -> None:
    api.service("web")
    api.instance(1)
    api.ask("DELETE", "/v1/services/web")
    again: Any = api.ask("PUT", "/v1/services/web", {"image": "x"}).json
    assert again["revision"] == 2


def test_deleting_an_instance_stops_it(api: Api) -> None:
    api.status(api.instance(1))
    assert api.ask("DELETE", "/v1/instances/web-1").status_code == 204
    stored = api.cache.instances["web-1"].value
    assert stored.wanted == "stopped"
    assert "deleted by" in stored.reason
    assert api.ask("DELETE", "/v1/instances/web-1").status_code == 204, "again is no error"


def test_labels_of_a_node_are_merged_and_taints_replaced(api: Api) -> None:
    api.node("n1", labels={"a": "1", "b": "2"})
    body = {"labels": {"a": None, "c": "3"}, "taints": [{"key": "gpu"}], "cordoned": True}
    shown: Any = api.ask("PATCH", "/v1/nodes/n1", body).json
    assert shown["own_labels"] == {"b": "2", "c": "3"}
    assert shown["taints"] == [{"key": "gpu", "value": ""}]
    assert shown["cordoned"]
    events: Any = api.get("/v1/events?kind=Node").json
    assert [event["reason"] for event in events["items"]] == ["NodeCordoned"]


@pytest.mark.parametrize(
    "body",
    [{"labels": {"node": "x"}}, {"labels": {"Ä": "x"}}, {"taints": [{}]}, {"cordond": True}, {"labels": [1]}, []],
)
def test_bad_changes_of_a_node_are_refused(api: Api, body: object) -> None:
    api.node("n1")
    problem(api.ask("PATCH", "/v1/nodes/n1", body), 422)
    assert api.cache.nodes["n1"].value == Node(name="n1")


def test_a_node_is_only_forgotten_when_lost_or_empty(api: Api) -> None:
    api.node("n1")
    api.token("agent", node="n1")
    instance = api.instance(1)
    problem(api.ask("DELETE", "/v1/nodes/n1"), 409)
    api.status(instance, InstanceState.STOPPED)
    assert api.ask("DELETE", "/v1/nodes/n1").status_code == 204
    assert not api.cache.nodes
    assert not api.cache.node_statuses
    assert [one.value.role for one in api.cache.tokens.values()] == ["admin"]


def test_a_lost_node_is_forgotten_with_its_instances_on_it(api: Api) -> None:
    api.node("n1", state=NodeState.LOST)
    api.instance(1)
    assert api.ask("DELETE", "/v1/nodes/n1").status_code == 204


def test_every_change_tells_who_made_it(api: Api) -> None:
    api.ask("PUT", "/v1/services/web", {"image": "x"})
    api.clock.now += 1
    api.ask("PUT", "/v1/services/web/replicas", {"replicas": 2})
    api.clock.now += 1
    api.ask("DELETE", "/v1/services/web")
    events: Any = api.get("/v1/events?service=web").json
    assert [event["reason"] for event in events["items"]] == ["ServiceCreated", "ServiceScaled", "ServiceDeleted"]
    assert all("admin" in event["message"] for event in events["items"])


def test_explanations_tell_of_every_node(api: Api) -> None:
    api.service("web")
    api.node("n1")
    api.node("n2", cordoned=True)
    told: Any = api.get("/v1/services/web/explain").json
    assert {node["node"]: node["passed"] for node in told["nodes"]} == {"n1": True, "n2": False}
    assert next(node["reasons"] for node in told["nodes"] if node["node"] == "n2")
    api.instance(1, node=None, waiting="no node fits")
    told = api.get("/v1/instances/web-1/explain").json
    assert (told["instance"], told["waiting"]) == ("web-1", "no node fits")


def test_a_commit_in_vain_again_and_again_is_a_conflict(api: Api) -> None:
    api.service("web")

    api.store.txn = lambda *_: TxnResult(False, 0)  # type: ignore[method-assign]  # every compare fails
    problem(api.ask("PUT", "/v1/services/web/replicas", {"replicas": 9}), 409)
