"""Applying and planning documents: all or nothing, and nothing is stored of what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from api_builders import Api, problem

from newbon_core.apiserver.context import Limits

WEB = {"kind": "Service", "name": "web", "image": "shop/web:1", "replicas": 2}


def apply(api: Api, *documents: object, dry_run: bool = False) -> Any:
    response = api.ask("PUT", f"/v1/documents?dry_run={str(dry_run).lower()}", {"documents": documents})
    assert response.status_code == 200, response.get_data()
    return response.json


def actions(answer: Any) -> dict[str, str]:
    return {result["name"]: result["action"] for result in answer["results"]}


def test_an_apply_is_idempotent(api: Api) -> None:
    first = apply(api, WEB)
    assert actions(first) == {"web": "created"}
    assert first["revision"] == api.cache.services["web"].revision
    before = api.store.revision
    assert actions(apply(api, WEB)) == {"web": "unchanged"}
    assert api.store.revision == before


def test_an_apply_of_many_is_one_transaction(api: Api) -> None:
    before = api.store.revision
    answer = apply(api, *({**WEB, "name": f"s{number}"} for number in range(50)))
    assert set(actions(answer).values()) == {"created"}
    assert api.store.revision == before + 1


def test_an_apply_larger_than_the_stores_transactions_is_still_whole(api: Api) -> None:
    apply(api, *({**WEB, "name": f"s{number}"} for number in range(400)))
    assert len(api.cache.services) == 400
    assert not api.store.list("/newbon/journal/")[0]


def test_changing_the_image_makes_a_revision_and_keeps_the_one_before(api: Api) -> None:
    apply(api, WEB)
    answer = apply(api, {**WEB, "image": "shop/web:2"})
    assert answer["results"][0]["differences"] == [{"path": "image", "old": "shop/web:1", "new": "shop/web:2"}]
    revisions = api.get("/v1/revisions?service=web").json["items"]  # type: ignore[index]  # JSON
    assert [(one["number"], one["image"], one["current"]) for one in revisions] == [
        (1, "shop/web:1", False),
        (2, "shop/web:2", True),
    ]


def test_a_dry_run_tells_and_writes_nothing(api: Api) -> None:
    before = api.store.revision
    answer = apply(api, WEB, dry_run=True)
    assert actions(answer) == {"web": "created"}
    assert answer["dry_run"]
    assert answer["revision"] == 0
    assert api.store.revision == before


def test_yaml_of_several_documents_is_applied(api: Api) -> None:
    text = b"kind: Service\nname: a\nimage: x\n---\nkind: Service\nname: b\nimage: y\n"
    response = api.ask("PUT", "/v1/documents", data=text, content_type="application/yaml")
    assert actions(response.json) == {"a": "created", "b": "created"}


def test_all_faults_are_told_together_and_nothing_is_stored(api: Api) -> None:
    before = api.store.revision
    documents = [WEB, {"kind": "Service", "nam": "x", "image": 3}, {"kind": "Servce", "name": "y"}]
    found = problem(api.ask("PUT", "/v1/documents", {"documents": documents}), 422)
    paths = {(one["document"], one["path"]) for one in found["problems"]}
    assert paths >= {(1, "nam"), (1, "image"), (2, "kind")}
    assert {one["nearest"] for one in found["problems"]} >= {"name", "Service"}
    assert api.store.revision == before
    assert not api.cache.services


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ([], 422),
        ({}, 422),
        ({"documents": {}}, 422),
        ({"documents": [], "more": 1}, 422),
        ({"documents": [None, 1, "x", []]}, 422),
        ({"documents": [{**WEB, "replicas": -1}]}, 422),
        ({"documents": [{**WEB, "resources": {"cpu": 0}}]}, 422),
        ({"documents": [{**WEB, "name": "Not A Label"}]}, 422),
        ({"documents": [WEB, WEB]}, 422),
        ({"documents": [{**WEB, "runtime": "dokcer"}]}, 422),
        ({"documents": [{"kind": "Node", "name": "n9", "cordoned": True}]}, 422),
    ],
)
def test_bad_documents_are_refused_and_nothing_is_stored(api: Api, body: object, status: int) -> None:
    before = api.store.revision
    for method, path in (("PUT", "/v1/documents"), ("POST", "/v1/plan")):
        problem(api.ask(method, path, body), status)
    assert api.store.revision == before


BOMB = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n" % ((c, c) + (c - 1,) * 9) for c in range(ord("b"), ord("k"))
)


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        b"kind: !!python/object/apply:os.system ['true']",
        b"\xff\xfe\x00\x01",
        b"a: " * 5000,
        b"[" * 5000,
        b"",
        b"kind: Service\nname: a\nname: b\nimage: x\n",
        "kind: Service\nname: a\nimage: \ud800".encode("utf-8", "surrogatepass"),
    ],
)
def test_yaml_that_means_harm_is_refused(api: Api, text: bytes) -> None:
    before = api.store.revision
    problem(api.ask("PUT", "/v1/documents", data=text, content_type="application/yaml"), 422)
    assert api.store.revision == before


@pytest.mark.parametrize(
    ("data", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"documents": [NaN]}', "application/json", 400),
        (b'{"documents": ["\\ud800"]}', "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"{}", "text/plain", 415),
        (b"{}", None, 415),
    ],
)
def test_bodies_that_are_not_json_say_so(api: Api, data: bytes, content_type: str | None, status: int) -> None:
    problem(api.ask("PUT", "/v1/documents", data=data, content_type=content_type), status)


@pytest.mark.parametrize("content_type", ["application/json", "application/yaml"])
def test_a_file_of_ten_megabytes_is_refused(api: Api, content_type: str) -> None:
    found = problem(api.ask("PUT", "/v1/documents", data=b" " * 10_000_000, content_type=content_type), 413)
    assert "1 MiB" in found["detail"]


def test_an_agent_may_send_more_than_others(api: Api) -> None:
    small = Api(limits=Limits(body_bytes=1000, report_bytes=5000))
    token = small.token("agent", node="n1")
    report = {"node": "n1", "boot_id": "b", "sent_at": 1.0, "messages": ["x" * 3000]}
    assert small.ask("POST", "/v1/agent/report", report, token=token).status_code == 200
    report["messages"] = ["x" * 6000]
    problem(small.ask("POST", "/v1/agent/report", report, token=token), 413)
    problem(small.ask("PUT", "/v1/documents", {"documents": ["x" * 2000]}), 413)


def test_a_store_that_is_away_is_503_and_not_an_error_of_the_server(api: Api) -> None:
    api.store.broken = True
    response = api.ask("PUT", "/v1/documents", {"documents": [WEB]})
    problem(response, 503)
    assert response.headers["Retry-After"] == "1"


def test_a_plan_shows_where_new_instances_would_go_and_which_would_leave(api: Api) -> None:
    api.node("n1")
    api.service("web", replicas=2)
    for number in (1, 2):
        api.status(api.instance(number, created_at=float(number)))
    before = api.store.revision
    plan = api.ask("POST", "/v1/plan", {"documents": [{**WEB, "replicas": 4}]}).json
    assert [group["count"] for group in plan["groups"]] == [2]  # type: ignore[index]  # JSON
    assert [one["node"] for one in plan["groups"][0]["placements"]] == ["n1", "n1"]  # type: ignore[index]  # JSON
    assert plan["removals"] == []  # type: ignore[index]  # JSON
    fewer = api.ask("POST", "/v1/plan", {"documents": [{**WEB, "replicas": 1}]}).json
    assert [one["instance"] for one in fewer["removals"]] == ["web-2"]  # type: ignore[index]  # JSON
    other = api.ask("POST", "/v1/plan", {"documents": [{**WEB, "image": "shop/web:2"}]}).json
    assert {one["instance"] for one in other["removals"]} == {"web-1", "web-2"}  # type: ignore[index]  # JSON
    assert other["groups"][0]["revision"] == 2  # type: ignore[index]  # JSON
    assert api.store.revision == before


def test_a_plan_without_room_says_why(api: Api) -> None:
    plan = api.ask("POST", "/v1/plan", {"documents": [WEB]}).json
    assert plan["groups"][0]["placements"][0]["node"] is None  # type: ignore[index]  # JSON
    assert plan["groups"][0]["summary"]  # type: ignore[index]  # JSON


def test_an_unchanged_service_plans_nothing(api: Api) -> None:
    apply(api, WEB)
    plan = api.ask("POST", "/v1/plan", {"documents": [WEB]}).json
    assert plan["groups"] == plan["removals"] == []  # type: ignore[index]  # JSON


def test_values_of_the_environment_do_not_get_into_events(api: Api) -> None:
    apply(api, WEB)
    apply(api, {**WEB, "env": {"PASSWORD": "hunter2"}})
    assert "hunter2" not in api.get("/v1/events").get_data(as_text=True)
