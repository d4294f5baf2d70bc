"""Who may do what, and what happens to those who may not."""

from __future__ import annotations

import base64
import logging

import pytest
from api_builders import Api, problem

ROLES = ("admin", "viewer", "agent", "join")
MATRIX = {
    ("GET", "/v1/services"): {"admin", "viewer"},
    ("GET", "/v1/services/web"): {"admin", "viewer"},
    ("GET", "/v1/services/web/explain"): {"admin", "viewer"},
    ("PUT", "/v1/services/web"): {"admin"},
    ("PUT", "/v1/services/web/replicas"): {"admin"},
    ("DELETE", "/v1/services/web"): {"admin"},
    ("PUT", "/v1/documents"): {"admin"},
    ("POST", "/v1/plan"): {"admin", "viewer"},
    ("GET", "/v1/instances"): {"admin", "viewer"},
    ("GET", "/v1/instances/web-1"): {"admin", "viewer"},
    ("GET", "/v1/instances/web-1/explain"): {"admin", "viewer"},
    ("GET", "/v1/instances/web-1/logs"): {"admin", "viewer"},
    ("DELETE", "/v1/instances/web-1"): {"admin"},
    ("POST", "/v1/instances/web-1/exec"): {"admin"},
    ("GET", "/v1/streams/x"): {"admin", "viewer"},
    ("GET", "/v1/streams/x/output"): {"admin"},
    ("POST", "/v1/streams/x/input"): {"admin"},
    ("PUT", "/v1/streams/x/size"): {"admin"},
    ("GET", "/v1/nodes"): {"admin", "viewer"},
    ("GET", "/v1/nodes/n1"): {"admin", "viewer"},
    ("PATCH", "/v1/nodes/n1"): {"admin"},
    ("DELETE", "/v1/nodes/n1"): {"admin"},
    ("GET", "/v1/revisions"): {"admin", "viewer"},
    ("GET", "/v1/events"): {"admin", "viewer"},
    ("GET", "/v1/tokens"): {"admin"},
    ("POST", "/v1/tokens"): {"admin"},
    ("DELETE", "/v1/tokens/x"): {"admin"},
    ("GET", "/v1/plugins"): {"admin", "viewer"},
    ("POST", "/v1/agent/join"): {"admin", "join"},
    ("PUT", "/v1/agent/node"): {"agent"},
    ("POST", "/v1/agent/report"): {"agent"},
    ("GET", "/v1/agent/orders"): {"agent"},
    ("POST", "/v1/agent/streams/x/output"): {"agent"},
    ("GET", "/v1/agent/streams/x/input"): {"agent"},
    ("POST", "/v1/agent/streams/x/end"): {"agent"},
    ("GET", "/openapi.json"): {"admin", "viewer"},
    ("GET", "/docs"): {"admin", "viewer"},
    ("GET", "/metrics"): {"admin", "viewer"},
}
BODIES: dict[str, object] = {
    "/v1/agent/node": {"name": "other", "cpu_millis": 1, "memory_bytes": 1},
    "/v1/agent/report": {"node": "other", "boot_id": "b", "sent_at": 1.0},
}


def test_the_matrix_names_every_view(api: Api) -> None:
    views = {
        (method, rule.rule)
        for rule in api.app.url_map.iter_rules()
        for method in rule.methods or ()
        if method not in ("HEAD", "OPTIONS")
    }
    named = {(method, _as_rule(path)) for method, path in MATRIX}
    assert views - named == {("GET", "/healthz"), ("GET", "/readyz")}


def _as_rule(path: str) -> str:
    for folder in ("services", "instances", "nodes", "tokens"):
        for name in ("web-1", "web", "n1", "x"):
            path = path.replace(f"/{folder}/{name}", f"/{folder}/<name>")
    return path.replace("/streams/x", "/streams/<stream_id>")


@pytest.mark.parametrize("role", ROLES)
def test_each_role_may_do_exactly_what_the_matrix_says(api: Api, role: str) -> None:
    node = "n1" if role == "agent" else None
    token = api.token(role, node=node)  # type: ignore[arg-type]  # one of ROLES
    for (method, path), allowed in MATRIX.items():
        response = api.ask(method, path, BODIES.get(path, {}) if method != "GET" else None, token=token)
        if path in BODIES:
            # An admin's token speaks for no node, and the agent's for another one.
            assert response.status_code == 403, (method, path)
        elif role == "admin" and "admin" not in allowed:
            assert response.status_code in (403, 404, 422), (method, path)
        elif role in allowed:
            assert response.status_code not in (401, 403), (method, path, response.get_data())
        else:
            assert response.status_code == 403, (method, path)
        response.close()


@pytest.mark.parametrize(("method", "path"), [*MATRIX, ("GET", "/nothing/here"), ("POST", "/v1/services")])
def test_nothing_opens_without_a_token(api: Api, method: str, path: str) -> None:
    response = api.client.open(path, method=method)
    problem(response, 401)
    assert "Bearer" in response.headers["WWW-Authenticate"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_needs_no_token(api: Api, path: str) -> None:
    assert api.client.get(path).status_code == 200


def test_readiness_tells_its_reasons_only_to_those_with_a_token(api: Api) -> None:
    api.reasons.append("the store has not answered for 12 s")
    assert "12 s" not in problem(api.client.get("/readyz"), 503)["detail"]
    assert "12 s" in problem(api.get("/readyz"), 503)["detail"]


def test_metrics_may_be_opened_by_the_site() -> None:
    assert Api(open_metrics=True).client.get("/metrics").status_code == 200


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer ", "Bearer nodot", "Bearer .", "Bearer a.", "Bearer x.y", "Basic !!", "Digest x", "é" * 10],
)
def test_malformed_tokens_are_refused(api: Api, header: str) -> None:
    problem(api.client.get("/v1/services", headers={"Authorization": header}), 401)


def test_browsers_may_send_the_token_as_a_password(api: Api) -> None:
    asked = api.client.get("/docs")
    assert asked.headers["WWW-Authenticate"].startswith("Basic")
    basic = base64.b64encode(f"me:{api.admin}".encode()).decode()
    assert api.client.get("/docs", headers={"Authorization": f"Basic {basic}"}).status_code == 200


def test_an_expired_token_is_refused(api: Api) -> None:
    token = api.token("viewer", expires_at=api.clock.now + 10)
    assert api.get("/v1/services", token=token).status_code == 200
    api.clock.now += 10
    problem(api.get("/v1/services", token=token), 401)


def test_a_deleted_token_ends_at_once(api: Api) -> None:
    token = api.token("viewer")
    assert api.get("/v1/services", token=token).status_code == 200
    assert api.ask("DELETE", f"/v1/tokens/{token.partition('.')[0]}").status_code == 204
    problem(api.get("/v1/services", token=token), 401)


def test_nobody_deletes_the_token_in_use(api: Api) -> None:
    problem(api.ask("DELETE", f"/v1/tokens/{api.admin.partition('.')[0]}"), 409)


def test_guessing_is_slowed_down_for_the_guesser_alone(api: Api) -> None:
    assert api.get("/v1/services").status_code == 200
    fresh = api.token("viewer")
    for number in range(10):
        problem(api.get("/v1/services", token=f"guess.{number}"), 401)
    refused = api.get("/v1/services", token="guess.11")
    problem(refused, 429)
    assert int(refused.headers["Retry-After"]) <= 61
    assert api.get("/v1/services").status_code == 200, "a token that was good before still is"
    problem(api.get("/v1/services", token=fresh), 429)
    api.clock.now += 61
    assert api.get("/v1/services", token=fresh).status_code == 200


def test_a_bad_token_is_logged_but_never_its_secret(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    secret = api.admin.partition(".")[2]
    name = api.admin.partition(".")[0]
    with caplog.at_level(logging.DEBUG):
        problem(api.get("/v1/services", token=f"{name}.{secret[:-1]}x"), 401)
    assert "bad token from 127.0.0.1" in caplog.text
    assert secret[:-1] not in caplog.text


def test_only_digests_are_stored_and_shown(api: Api) -> None:
    made = api.ask("POST", "/v1/tokens", {"role": "viewer", "description": "for Ann"})
    assert made.status_code == 201
    secret = made.json["token"].partition(".")[2]  # type: ignore[index]  # it has a body
    listed = api.get("/v1/tokens").get_data(as_text=True)
    stored = b"".join(item.value for item in api.store.list("/")[0])
    assert "for Ann" in listed
    assert secret not in listed
    assert "digest" not in listed
    assert secret.encode() not in stored
    assert api.get("/v1/services", token=made.json["token"]).status_code == 200  # type: ignore[index]  # as above


def test_an_agent_reports_for_its_own_node_only(api: Api) -> None:
    token = api.token("agent", node="n1")
    api.node("n1")
    report = {"node": "n1", "boot_id": "b", "sent_at": 1.0}
    assert api.ask("POST", "/v1/agent/report", report, token=token).status_code == 200
    problem(api.ask("POST", "/v1/agent/report", {**report, "node": "n2"}, token=token), 403)
    status = {"name": "web-1", "uid": "u", "node": "n2", "state": "running"}
    problem(api.ask("POST", "/v1/agent/report", {**report, "statuses": [status]}, token=token), 403)


def test_joining_gives_a_token_bound_to_the_node_and_ends_the_one_before(api: Api) -> None:
    join = api.token("join")
    first = api.ask("POST", "/v1/agent/join", {"node": "n1"}, token=join).json["token"]  # type: ignore[index]  # JSON
    second = api.ask("POST", "/v1/agent/join", {"node": "n1"}, token=join).json["token"]  # type: ignore[index]  # JSON
    body = {"name": "n1", "cpu_millis": 1000, "memory_bytes": 1 << 30}
    problem(api.ask("PUT", "/v1/agent/node", body, token=first), 401)
    assert api.ask("PUT", "/v1/agent/node", body, token=second).status_code == 204
    problem(api.ask("PUT", "/v1/agent/node", {**body, "name": "n2"}, token=second), 403)
    assert list(api.cache.nodes) == ["n1"]


def test_a_connected_node_is_not_joined_by_another_host(api: Api) -> None:
    join = api.token("join")
    agent = api.token("agent", node="n1")
    orders = api.watch("/v1/agent/orders", token=agent)
    orders.next()
    problem(api.ask("POST", "/v1/agent/join", {"node": "n1"}, token=join), 409)
    orders.close()
    assert api.ask("POST", "/v1/agent/join", {"node": "n1"}, token=join).status_code == 201


@pytest.mark.parametrize("name", ["", "N1", "a/b", "../x", "x" * 300, "ä"])
def test_a_node_cannot_join_under_a_name_that_is_none(api: Api, name: str) -> None:
    problem(api.ask("POST", "/v1/agent/join", {"node": name}, token=api.token("join")), 422)


@pytest.mark.parametrize(
    "body",
    [{"role": "agent"}, {"role": "viewer", "node": "n1"}, {"role": "king"}, {"role": "agent", "node": "N 1"}, {}, []],
)
def test_tokens_that_make_no_sense_are_not_made(api: Api, body: object) -> None:
    before = len(api.cache.tokens)
    problem(api.ask("POST", "/v1/tokens", body), 422)
    assert len(api.cache.tokens) == before
