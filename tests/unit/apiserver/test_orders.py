"""What an agent hears: its orders, all of them and then each change, and requests for streams."""

from __future__ import annotations

import base64
import json
import threading
from typing import Any

import pytest
from api_builders import Api, Events, problem

from newbon_core.apiserver import agents
from newbon_core.apiserver.feed import ChangeFeed
from newbon_core.apiserver.peer import GONE_KEY
from newbon_core.model import InstanceState


@pytest.fixture
def token(api: Api) -> str:
    api.service("web")
    api.node("n1")
    return api.token("agent", node="n1")


def connected(api: Api, token: str) -> Events:
    events = api.watch("/v1/agent/orders", token=token)
    assert events.next()[0] == "orders"
    return events


def test_an_agent_gets_all_its_orders_and_then_each_change(api: Api, token: str) -> None:
    api.instance(1)
    api.instance(1, service="other", node="n2")
    events = api.watch("/v1/agent/orders", token=token)
    event, orders, revision = events.next()
    assert (event, orders["full"], revision) == ("orders", True, str(api.store.revision))
    assert [order["name"] for order in orders["orders"]] == ["web-1"]
    api.instance(2, service="other", node="n2")
    api.instance(2)
    event, orders, _ = events.next()
    assert (event, orders["full"]) == ("orders", False)
    assert [order["name"] for order in orders["orders"]] == ["web-2"]


def test_a_second_stream_of_a_node_ends_the_first(api: Api, token: str) -> None:
    first = connected(api, token)
    second = connected(api, token)
    with pytest.raises(StopIteration):
        first.next()
    first.close()
    assert api.feed.connected("n1"), "closing the first does not disconnect the second"
    second.close()
    assert not api.feed.connected("n1")


def test_an_agent_that_reads_too_slowly_gets_all_orders_again(api: Api, token: str) -> None:
    api.context.feed = ChangeFeed(api.cache, backlog=3)
    events = connected(api, token)
    for number in range(1, 10):
        api.instance(number)
    seen: list[Any] = []
    while not seen or not seen[-1]["full"]:
        seen.append(events.next()[1])
    assert len(seen[-1]["orders"]) == 9


def test_a_node_whose_token_is_deleted_is_disconnected(api: Api, token: str) -> None:
    events = connected(api, token)
    api.ask("DELETE", f"/v1/tokens/{token.partition('.')[0]}")
    with pytest.raises(StopIteration):
        events.next()


@pytest.mark.parametrize(
    "change",
    [
        {"cpu_millis": -1},
        {"cpu_millis": 2**63},
        {"memory_bytes": 2**80},
        {"countable": {"gpu": -1}},
        {"labels": {"zo ne": "a"}},
        {"labels": {"zone": "a b\n"}},
        {"taints": [{"key": "", "value": "x"}]},
        {"cpu_millis": "x"},
    ],
)
def test_a_host_of_impossible_size_or_labels_is_refused(api: Api, token: str, change: dict[str, Any]) -> None:
    body = {"name": "n1", "cpu_millis": 1000, "memory_bytes": 1 << 30, **change}
    problem(api.ask("PUT", "/v1/agent/node", body, token=token), 422)


@pytest.mark.parametrize(
    "change",
    [
        {"statuses": [{"name": "web-1", "uid": "u", "node": "n1", "state": "flying"}]},
        {"statuses": [{"name": "web-1", "uid": "u", "node": "n1", "state": "failed", "message": "x" * 20_000}]},
        {"sent_at": "soon"},
    ],
)
def test_a_report_that_makes_no_sense_is_refused(api: Api, token: str, change: dict[str, Any]) -> None:
    problem(
        api.ask("POST", "/v1/agent/report", {"node": "n1", "boot_id": "b", "sent_at": 1.0, **change}, token=token), 422
    )


# --- streams ---------------------------------------------------------------------------------------------------------


def running(api: Api) -> None:
    api.status(api.instance(1), InstanceState.RUNNING)


def in_thread(work: Any) -> tuple[threading.Thread, list[Any]]:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()), daemon=True)
    thread.start()
    return thread, found


def test_logs_travel_from_the_agent_to_the_user(api: Api, token: str) -> None:
    running(api)
    events = connected(api, token)
    thread, found = in_thread(lambda: api.get("/v1/instances/web-1/logs?tail=5&timestamps=true"))
    event, request, _ = events.next()
    assert event == "stream"
    assert (request["kind"], request["tail"], request["timestamps"], request["uid"]) == ("logs", 5, True, "uid-web-1")
    path = f"/v1/agent/streams/{request['id']}"
    for piece in (b"one\n", b"\xfftwo\n"):
        assert api.ask("POST", f"{path}/output", data=piece, token=token).status_code == 204
    assert api.ask("POST", f"{path}/end", {}, token=token).status_code == 204
    thread.join(10)
    response = found[0]
    assert response.get_data() == b"one\n\xfftwo\n"
    ended: Any = api.get(f"/v1/streams/{response.headers['X-Newbon-Stream']}").json
    assert (ended["state"], ended["error"]) == ("ended", None)


def test_a_command_gets_input_and_size_and_tells_its_exit_code(api: Api, token: str) -> None:
    running(api)
    events = connected(api, token)
    body = {"command": ["sh"], "tty": True, "stdin": True, "rows": 30, "columns": 100}
    made = api.ask("POST", "/v1/instances/web-1/exec", body)
    assert made.status_code == 201
    stream = made.json["id"]  # type: ignore[index]  # JSON
    request = events.next()[1]
    assert (request["command"], request["tty"], request["rows"]) == (["sh"], True, 30)
    path = f"/v1/agent/streams/{stream}"
    api.ask("POST", f"/v1/streams/{stream}/input", data=b"ls\n")
    api.ask("PUT", f"/v1/streams/{stream}/size", {"rows": 40, "columns": 120})
    api.ask("POST", f"/v1/streams/{stream}/input", data=b"")
    assert api.ask("POST", f"{path}/output", data=b"a.txt\n", token=token).status_code == 204
    assert api.ask("POST", f"{path}/end", {"exit_code": 3}, token=token).status_code == 204
    heard = api.ask("GET", f"{path}/input", token=token).get_data().split(b"\n")
    pieces = [json.loads(line) for line in heard if line]
    assert [base64.b64decode(one["data"]) for one in pieces if one.get("data") is not None] == [b"ls\n", b""]
    assert (pieces[1]["rows"], pieces[1]["columns"]) == (40, 120)
    assert pieces[-1]["closed"]
    assert api.get(f"/v1/streams/{stream}/output").get_data() == b"a.txt\n"
    assert api.get(f"/v1/streams/{stream}").json["exit_code"] == 3  # type: ignore[index]  # JSON
    problem(api.ask("POST", f"/v1/streams/{stream}/input", data=b"more"), 410)
    problem(api.ask("POST", f"{path}/output", data=b"more", token=token), 410)


def test_without_its_agent_nothing_can_be_carried(api: Api, token: str) -> None:
    running(api)
    for response in (
        api.get("/v1/instances/web-1/logs"),
        api.ask("POST", "/v1/instances/web-1/exec", {"command": ["sh"]}),
    ):
        assert "agent of node n1 is not connected" in problem(response, 410)["detail"]


def test_an_agent_that_does_not_answer_ends_the_stream(api: Api, token: str) -> None:
    running(api)
    connected(api, token)
    stream: Any = api.ask("POST", "/v1/instances/web-1/exec", {"command": ["sh"]}).json
    api.clock.now += 11
    api.context.streams.sweep(api.clock.now)
    ended: Any = api.get(f"/v1/streams/{stream['id']}").json
    assert "did not answer within 10 s" in ended["error"]
    problem(api.get(f"/v1/streams/{stream['id']}/output"), 410)


def test_an_agent_that_goes_away_ends_its_streams(api: Api, token: str) -> None:
    running(api)
    events = connected(api, token)
    stream: Any = api.ask("POST", "/v1/instances/web-1/exec", {"command": ["sh"]}).json
    events.next()
    api.ask("POST", f"/v1/agent/streams/{stream['id']}/output", data=b"x", token=token)
    events.close()
    for _ in range(2):
        api.context.streams.sweep(api.clock.now)
        assert api.get(f"/v1/streams/{stream['id']}").json["state"] == "open"  # type: ignore[index]  # JSON
    api.clock.now += 6
    api.context.streams.sweep(api.clock.now)
    assert "has gone" in api.get(f"/v1/streams/{stream['id']}").json["error"]  # type: ignore[index]  # JSON


def test_another_node_cannot_touch_a_stream(api: Api, token: str) -> None:
    running(api)
    connected(api, token)
    stream: Any = api.ask("POST", "/v1/instances/web-1/exec", {"command": ["sh"]}).json
    other = api.token("agent", node="n2")
    for method, end in (("POST", "output"), ("GET", "input"), ("POST", "end")):
        data = b"{}" if method == "POST" else None
        asked = api.ask(method, f"/v1/agent/streams/{stream['id']}/{end}", token=other, data=data)
        problem(asked, 404)


def test_a_viewer_reads_logs_but_sees_nothing_of_commands(api: Api, token: str) -> None:
    running(api)
    connected(api, token)
    stream: Any = api.ask("POST", "/v1/instances/web-1/exec", {"command": ["sh"]}).json
    problem(api.get(f"/v1/streams/{stream['id']}", token=api.token("viewer")), 404)


def test_a_reader_that_does_not_read_makes_the_agent_wait_and_then_stop(
    api: Api, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents, "ROOM_WITHIN_S", 0.05)
    running(api)
    connected(api, token)
    stream: Any = api.ask("POST", "/v1/instances/web-1/exec", {"command": ["yes"]}).json
    path = f"/v1/agent/streams/{stream['id']}/output"
    sent = 0
    while (answer := api.ask("POST", path, data=b"y" * 256_000, token=token)).status_code == 204:
        sent += 1
        assert sent < 20
    problem(answer, 410)
    assert "did not read" in api.get(f"/v1/streams/{stream['id']}").json["error"]  # type: ignore[index]  # JSON


def test_commands_need_a_running_instance(api: Api, token: str) -> None:
    api.instance(1)
    assert "assigned" in problem(api.ask("POST", "/v1/instances/web-1/exec", {"command": ["sh"]}), 409)["detail"]
    api.instance(2, node=None, waiting="no room")
    assert "no room" in problem(api.get("/v1/instances/web-2/logs"), 409)["detail"]


@pytest.mark.parametrize("body", [{}, {"command": []}, {"command": "ls"}, {"command": ["x"], "rows": 0}, []])
def test_commands_that_are_none_are_refused(api: Api, body: object) -> None:
    problem(api.ask("POST", "/v1/instances/web-1/exec", body), 422)


def test_only_so_many_streams_are_open_at_once(api: Api, token: str) -> None:
    running(api)
    connected(api, token)
    api.context.streams._limit = 2
    for _ in range(2):
        assert api.ask("POST", "/v1/instances/web-1/exec", {"command": ["sh"]}).status_code == 201
    problem(api.ask("POST", "/v1/instances/web-1/exec", {"command": ["sh"]}), 429)


def test_a_reader_that_is_gone_ends_a_quiet_stream(api: Api, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("newbon_core.apiserver.instances.LOOK_S", 0.01)
    kept = connected(api, token)
    running(api)
    path = "/v1/instances/web-1/logs?follow=true"
    left = [False]
    headers = {"Authorization": f"Bearer {api.admin}"}
    gone = {GONE_KEY: lambda: left[0]}
    reader, _ = in_thread(lambda: api.client.get(path, headers=headers, environ_overrides=gone, buffered=True))
    reader.join(0.1)
    assert api.context.streams.count() == 1
    assert reader.is_alive(), "a reader that is there waits for more"
    left[0] = True
    reader.join(5.0)
    assert not reader.is_alive()
    assert api.context.streams.count() == 0
    kept.close()
