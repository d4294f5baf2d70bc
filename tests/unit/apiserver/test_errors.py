"""Every error is a problem; and the description and its page tell all there is."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
from api_builders import Api, problem

from newbon_core.store.base import TransactionTooLarge


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1", 404),
        ("GET", "/v1/services/web/nothing", 404),
        ("GET", "/v1/services/a/b", 404),
        ("POST", "/v1/services", 405),
        ("DELETE", "/v1/events", 405),
        ("TRACE", "/v1/services", 405),
        ("GET", "/v1/services/%00", 404),
        ("GET", "/v1/services/%ff%fe", 404),
    ],
)
def test_what_is_not_there_is_a_problem(api: Api, method: str, path: str, status: int) -> None:
    response = api.ask(method, path)
    problem(response, status)
    assert ("Allow" in response.headers) == (status == 405)


def test_an_error_of_the_server_is_logged_with_a_number_and_never_shown(
    api: Api, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> None:
        raise RuntimeError("the secret inside")

    monkeypatch.setattr(api.fleet, "report", breaks)
    token = api.token("agent", node="n1")
    with caplog.at_level(logging.ERROR):
        found = problem(
            api.ask("POST", "/v1/agent/report", {"node": "n1", "boot_id": "b", "sent_at": 1}, token=token), 500
        )
    assert "secret" not in str(found)
    assert "Traceback" not in str(found)
    assert found["id"] in caplog.text
    assert "the secret inside" in caplog.text
    assert token.partition(".")[2] not in caplog.text


def test_what_the_store_cannot_take_is_too_large(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object) -> None:
        raise TransactionTooLarge("2000000 bytes")

    monkeypatch.setattr(api.fleet, "report", refuses)
    token = api.token("agent", node="n1")
    body = {"node": "n1", "boot_id": "b", "sent_at": 1}
    problem(api.ask("POST", "/v1/agent/report", body, token=token), 413)


def test_nothing_is_cached_or_guessed_by_a_browser(api: Api) -> None:
    headers = api.get("/v1/services").headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_the_description_is_openapi_31_and_names_every_view(api: Api) -> None:
    spec: Any = api.get("/openapi.json").json
    assert spec["openapi"] == "3.1.0"
    described = {
        (method.upper(), path) for path, one in spec["paths"].items() for method in one if method != "parameters"
    }
    served = {
        (method, re.sub(r"<(\w+)>", r"{\1}", rule.rule))
        for rule in api.app.url_map.iter_rules()
        for method in rule.methods or ()
        if method not in ("HEAD", "OPTIONS")
    }
    assert served - described == {("GET", "/openapi.json"), ("GET", "/docs")}
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            if method == "parameters":
                continue
            assert operation["summary"], (method, path)
            assert set(operation["responses"]) >= {"401", "403"}, (method, path)
            assert "default" not in operation["responses"]
    assert "image" in spec["components"]["schemas"]["Service"]["properties"]


def test_the_page_is_whole_in_itself(api: Api) -> None:
    page = api.get("/docs").get_data(as_text=True)
    assert "/v1/services/{name}/replicas" in page
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page)
    assert "<script" not in page


def test_metrics_tell_of_requests_plugins_and_the_state(api: Api) -> None:
    api.service("web")
    api.node("n1")
    api.instance(1, placed_at=5.0, created_at=4.5)
    api.get("/v1/services")
    text = api.get("/metrics").get_data(as_text=True)
    for line in (
        'newbon_requests_total{method="GET",status="200",view="services.list_services"} 1.0',
        'newbon_instances{state="assigned"} 1.0',
        'newbon_nodes{state="ready"} 1.0',
        'newbon_plugin_calls_total{plugin="engine"}',
        "newbon_placements_total 1.0",
        "newbon_cache_revision",
    ):
        assert line in text, line
