"""Lists: order, pages, selectors, filters, and strict parameters."""

from __future__ import annotations

from typing import Any

import pytest
from api_builders import Api, problem
from hypothesis import given, settings
from hypothesis import strategies as st

from newbon_core.apiserver.typed import schema_of
from newbon_core.client import views
from newbon_core.model import Event, EventBatch, InstanceState
from newbon_core.model.wire import ContainerSample, HostSample, Report


def names(api: Api, path: str) -> list[str]:
    response = api.get(path)
    assert response.status_code == 200, response.get_data()
    return [item["name"] for item in response.json["items"]]  # type: ignore[index]  # JSON


def test_instances_sort_by_service_and_number(api: Api) -> None:
    for number in (10, 2, 1):
        api.instance(number)
    api.instance(3, service="api")
    assert names(api, "/v1/instances") == ["api-3", "web-1", "web-2", "web-10"]


@settings(max_examples=30, deadline=None)
@given(count=st.integers(0, 30), limit=st.integers(1, 12))
def test_pages_together_are_the_whole_list(count: int, limit: int) -> None:
    api = Api()
    for number in range(count):
        api.instance(number + 1)
    found: list[str] = []
    cursor: str | None = ""
    pages = 0
    while cursor is not None:
        more = f"&continue={cursor}" if cursor else ""
        page: Any = api.get(f"/v1/instances?limit={limit}{more}").json
        assert len(page["items"]) <= limit
        found += [item["name"] for item in page["items"]]
        cursor = page["continue"]
        pages += 1
    assert found == [f"web-{number + 1}" for number in range(count)]
    assert pages <= count // limit + 1


def test_what_comes_between_two_pages_shifts_nothing(api: Api) -> None:
    for name in ("b", "d", "f"):
        api.service(name)
    page: Any = api.get("/v1/services?limit=2").json
    api.service("a")
    api.service("e")
    rest: Any = api.get(f"/v1/services?limit=9&continue={page['continue']}").json
    assert [item["name"] for item in rest["items"]] == ["e", "f"]


@pytest.mark.parametrize("path", ["/v1/services", "/v1/instances", "/v1/nodes", "/v1/events", "/v1/tokens"])
@pytest.mark.parametrize("cursor", ["x", "%00", "bnVsbA", "WyJhIiwxXQ", "ImEi", "W10"])
def test_a_cursor_of_something_else_is_no_error_of_the_server(api: Api, path: str, cursor: str) -> None:
    api.service()
    api.node()
    api.instance()
    assert api.get(f"{path}?continue={cursor}").status_code in (200, 422)


def test_selectors_choose_by_label(api: Api) -> None:
    api.service("a", labels={"tier": "web"})
    api.service("b", labels={"tier": "db"})
    api.service("c")
    assert names(api, "/v1/services?selector=tier=web") == ["a"]
    assert names(api, "/v1/services?selector=tier!=web") == ["b", "c"]
    assert names(api, "/v1/services?selector=!tier") == ["c"]
    problem(api.get("/v1/services?selector=((("), 422)


def test_instances_are_selected_by_the_labels_of_their_service(api: Api) -> None:
    api.service("web", labels={"tier": "web"})
    api.instance(1)
    api.instance(1, service="other")
    assert names(api, "/v1/instances?selector=tier=web") == ["web-1"]


def test_instances_of_one_service_or_node(api: Api) -> None:
    api.instance(1)
    api.instance(2, node="n2")
    api.instance(1, service="other")
    assert names(api, "/v1/instances?service=web") == ["web-1", "web-2"]
    assert names(api, "/v1/instances?node=n2") == ["web-2"]


@pytest.mark.parametrize(
    "query",
    ["limt=3", "limit=0", "limit=9999999", "limit=x", "watch=perhaps", "revision=-1", "selector=" + "x" * 5000],
)
def test_parameters_are_read_strictly(api: Api, query: str) -> None:
    found = problem(api.get(f"/v1/services?{query}"), 422)
    assert found["problems"][0]["path"] == query.partition("=")[0] or query.startswith("selector")


def test_a_misspelt_parameter_is_told_its_name(api: Api) -> None:
    assert problem(api.get("/v1/services?limt=3"), 422)["problems"][0]["nearest"] == "limit"


def test_unknown_names_are_404_with_the_nearest(api: Api) -> None:
    api.service("web")
    api.instance(1)
    api.node("node-1")
    for path in ("/v1/services/wbe", "/v1/instances/web-11", "/v1/nodes/node-2"):
        assert "did you mean" in problem(api.get(path), 404)["detail"]


def test_views_have_exactly_the_fields_that_are_described(api: Api) -> None:
    api.service("web", labels={"tier": "web"})
    api.node("n1")
    instance = api.instance(1)
    api.status(instance, InstanceState.RUNNING, address="172.17.0.2", host_ports={"http": 32768})
    host = HostSample(
        time=1.0, cpu_cores=1.5, cpu_count=4, memory_used_bytes=1, memory_total_bytes=2, disk_used_bytes=3,
        disk_total_bytes=4, receive_bytes_s=5.0, transmit_bytes_s=6.0, load1=0.5,
    )  # fmt: skip
    sample = ContainerSample(
        instance="web-1", uid=instance.uid, time=1.0, cpu_cores=0.25, memory_bytes=1 << 20, receive_bytes_s=1.0,
        transmit_bytes_s=2.0, pids=3,
    )  # fmt: skip
    api.fleet.report(Report(node="n1", boot_id="b", sent_at=1.0, host=host, containers=(sample,)), api.clock.now)
    api.put(
        EventBatch(name="0001-a", events=(Event(time=1.0, level="info", reason="R", kind="K", name="n", message="m"),))
    )
    for path, kind in (
        ("/v1/services", views.ServiceView),
        ("/v1/instances", views.InstanceView),
        ("/v1/nodes", views.NodeView),
        ("/v1/events", views.EventView),
        ("/v1/revisions", views.RevisionView),
        ("/v1/tokens", views.TokenView),
        ("/v1/plugins", views.PluginView),
    ):
        item: Any = api.get(path).json
        schema = schema_of(kind)()
        assert not schema.validate(item["items"][0]), (path, schema.validate(item["items"][0]))
        assert set(item["items"][0]) == {name for name, one in schema.fields.items() if one.required}, path
    shown: Any = api.get("/v1/instances/web-1").json
    assert shown["usage"]["cpu_cores"] == 0.25
    assert shown["state"] == "running"
    assert api.get("/v1/nodes/n1").json["usage"]["load1"] == 0.5  # type: ignore[index]  # JSON


def test_events_are_filtered_and_the_newest_can_be_asked_for(api: Api) -> None:
    for number in range(5):
        event = Event(
            time=float(number), level="info" if number % 2 else "error", reason="R", kind="Service", name="web",
            message=str(number),
        )  # fmt: skip
        api.put(EventBatch(name=f"{number:018d}-a", events=(event,)))
    items: Any = api.get("/v1/events?level=error").json
    assert [item["message"] for item in items["items"]] == ["0", "2", "4"]
    items = api.get("/v1/events?newest=true&limit=2").json
    assert [item["message"] for item in items["items"]] == ["3", "4"]
    items = api.get("/v1/events?since=3").json
    assert [item["message"] for item in items["items"]] == ["3", "4"]


def test_free_room_of_a_node_is_its_size_less_what_unfinished_instances_reserve(api: Api) -> None:
    api.node("n1")
    body = {"kind": "Service", "name": "web", "image": "x", "resources": {"cpu": 0.5, "memory": "256MiB"}}
    api.ask("PUT", "/v1/documents", {"documents": [body]})
    api.status(api.instance(1), InstanceState.RUNNING)
    api.status(api.instance(2), InstanceState.FAILED)
    node: Any = api.get("/v1/nodes/n1").json
    assert node["cpu_free_millis"] == 4000 - 500
    assert node["memory_free_bytes"] == (4 << 30) - (256 << 20)
    assert node["instances"] == 1
