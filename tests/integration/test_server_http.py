"""The whole server over real HTTP: applying, watching, orders, streams, limits, and how it starts and stops."""

from __future__ import annotations

import socket
import stat
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import urllib3

sys.path.insert(0, str(Path(__file__).parent))
from server_builders import WEB, FakeAgent, client_of, running_names, serving, site_at, wait_until

from newbon_core.client import ApiProblem, Client
from newbon_core.model.wire import StreamEnd
from newbon_core.server import RunningServer, ServerError, run_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serving(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Client:
    return client_of(server)


@pytest.fixture(scope="module")
def agent(server: RunningServer) -> Iterator[FakeAgent]:
    agent = FakeAgent(server, "n1", server.make_join_token()).start()
    yield agent
    agent.stop()


@pytest.fixture(autouse=True)
def clean(client: Client) -> Iterator[None]:
    yield
    for service in client.services():
        client.delete("service", service["name"])


def test_what_is_applied_runs_and_is_shown(client: Client, agent: FakeAgent) -> None:
    client.apply([{**WEB, "replicas": 3}])
    names = wait_until(lambda: len(running_names(client, "web")) == 3 and running_names(client, "web"))
    assert len(names) == 3
    assert client.service("web")["running"] == 3
    placed = client.instances("web")[0]
    assert placed["node"] == "n1"
    assert placed["placement"] is not None
    assert client.node("n1")["instances"] == 3
    client.scale("web", 1)
    wait_until(lambda: len(running_names(client, "web")) == 1)
    client.delete("service", "web")
    wait_until(lambda: not client.instances("web"))


def test_an_order_reaches_its_agent_within_milliseconds(client: Client, agent: FakeAgent) -> None:
    took = []
    for number in range(15):
        before = len(agent.heard)
        began = time.perf_counter()
        client.apply([{**WEB, "name": f"quick-{number}"}])
        wait_until(lambda: any(update.orders for _, update in agent.heard[before:]))  # noqa: B023 - used at once
        took.append(next(at for at, update in agent.heard[before:] if update.orders) - began)
        time.sleep(0.03)
    assert statistics.median(took) <= 0.05, [f"{one * 1000:.1f} ms" for one in took]


def test_a_deleted_instance_is_replaced(client: Client, agent: FakeAgent) -> None:
    client.apply([WEB])
    first = wait_until(lambda: running_names(client, "web"))[0]
    client.delete("instance", first)
    wait_until(lambda: [name for name in running_names(client, "web") if name != first])


def test_a_watch_sees_everything_across_reconnects(server: RunningServer, client: Client) -> None:
    seen: dict[str, int] = {}
    events = []
    watch = client.watch("/v1/services")

    def follow() -> None:
        for event in watch:
            events.append(event.event)
            if event.event == "put":
                seen[event.object["name"]] = event.object["replicas"]
            elif event.event == "deleted":
                seen.pop(event.object["name"], None)
            elif event.event == "reset":
                seen.clear()

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    wait_until(lambda: "synced" in events)
    for number in range(20):
        client.apply([{**WEB, "name": f"s{number}", "replicas": 0}])
        if number % 7 == 3:
            # The server ends the stream; the client comes back by itself and resumes.
            with server.feed._lock:
                subscriptions = {one for kind in server.feed._by_kind.values() for one in kind}
            for subscription in subscriptions:
                subscription.push(_closed())
    client.delete("service", "s3")
    expected = {f"s{number}": 0 for number in range(20) if number != 3}
    wait_until(lambda: seen == expected, told=f"{sorted(expected)} being seen")
    watch.close()
    thread.join(5.0)
    assert not thread.is_alive()
    assert "reset" not in events


def _closed() -> Exception:
    from newbon_core.apiserver.feed import Closed

    return Closed("for a test")


def test_logs_and_commands_are_carried(server: RunningServer, client: Client, agent: FakeAgent) -> None:
    client.apply([WEB])
    name = wait_until(lambda: running_names(client, "web"))[0]
    before = len(agent.requests)
    lines: list[bytes] = []
    reader = threading.Thread(target=lambda: lines.extend(client.logs(name, follow=True)), daemon=True)
    reader.start()
    request = wait_until(lambda: agent.requests[before:])[0]
    assert agent.client.stream_output(request.id, b"hello\n")
    wait_until(lambda: lines == [b"hello\n"], told="the line on its way")
    agent.client.stream_end(request.id, StreamEnd())
    reader.join(5.0)
    assert not reader.is_alive()

    session = client.exec(name, ["cat"], stdin=True)
    request = wait_until(lambda: agent.requests[before + 1 :])[0]

    def command() -> None:
        for piece in agent.client.stream_input(request.id):
            if piece.closed or piece.data == "":
                break
            agent.client.stream_output(request.id, (piece.data or "").encode())
        agent.client.stream_end(request.id, StreamEnd(exit_code=7))

    worker = threading.Thread(target=command, daemon=True)
    worker.start()
    output: list[bytes] = []
    reader = threading.Thread(target=lambda: output.extend(session.output()), daemon=True)
    reader.start()
    session.resize(10, 20)
    session.write(b"abc")
    wait_until(lambda: b"YWJj" in output)
    session.write(b"")
    reader.join(5.0)
    worker.join(5.0)
    assert session.result()["exit_code"] == 7


def test_a_reader_that_hangs_up_stops_the_agent(client: Client, agent: FakeAgent) -> None:
    client.apply([WEB])
    name = wait_until(lambda: running_names(client, "web"))[0]
    before = len(agent.requests)
    session = client.exec(name, ["yes"])
    got = threading.Event()

    def read() -> None:
        for _ in session.output():
            got.set()

    threading.Thread(target=read, daemon=True).start()
    request = wait_until(lambda: agent.requests[before:])[0]
    agent.client.stream_output(request.id, b"y\n")
    assert got.wait(5.0)
    session.close()
    wait_until(lambda: not agent.client.stream_output(request.id, b"y\n" * 1000), 15.0, "the agent being told to stop")


def test_three_hundred_open_streams_leave_room_for_requests(server: RunningServer, client: Client) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    request = (
        f"GET /v1/instances?watch=true HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.admin_token}\r\n\r\n"
    ).encode()
    sockets = []
    try:
        for _ in range(300):
            one = socket.create_connection((host, int(port)), 10.0)
            one.sendall(request)
            sockets.append(one)
        wait_until(lambda: server.metrics.watches() >= 300, 30.0, "300 watches")
        began = time.perf_counter()
        client.apply([{**WEB, "name": "crowded", "replicas": 0}])
        assert time.perf_counter() - began < 2.0
        assert client.ready()["ready"]
    finally:
        for one in sockets:
            one.close()
    client.apply([{**WEB, "name": "crowded", "replicas": 1}])
    client.apply([{**WEB, "name": "crowded", "replicas": 0}])
    wait_until(lambda: server.metrics.watches() < 300, 20.0, "the streams of clients that have gone being ended")


# --- what is refused -------------------------------------------------------------------------------------------------


def test_ten_megabytes_are_refused_politely_and_nothing_is_stored(client: Client) -> None:
    for text in (b"a: " + b"x" * 10_000_000, "name: " + "y" * 1_100_000):
        with pytest.raises(ApiProblem) as caught:
            client.apply(text)
        assert caught.value.status == 413
    assert not client.services()


def test_chunked_bodies_have_the_same_limit(server: RunningServer) -> None:
    pieces = (b"x" * 65536 for _ in range(64))
    with urllib3.PoolManager() as pool:
        try:
            response = pool.request(
                "PUT",
                f"{server.url}/v1/documents",
                body=pieces,
                headers={"Authorization": f"Bearer {server.admin_token}", "Content-Type": "application/yaml"},
                retries=False,
            )
        except urllib3.exceptions.ProtocolError:
            return
    assert response.status == 413


def test_a_body_that_is_cut_off_is_not_taken_for_a_whole_one(server: RunningServer, client: Client) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    text = b"kind: Service\nname: half\nimage: x\n"
    head = (
        f"PUT /v1/documents HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.admin_token}\r\n"
        f"Content-Type: application/yaml\r\nContent-Length: {len(text) + 100}\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), 10.0) as connection:
        connection.sendall(head.encode() + text)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(65536)
    assert b" 400 " in answer
    assert not client.services()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", b"413"),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"414"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"PUT /v1/documents HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", b"413"),
    ],
)
def test_what_is_hardly_http_is_refused_with_a_problem(server: RunningServer, sent: bytes, status: bytes) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 10.0) as connection:
        connection.sendall(sent)
        answer = connection.recv(65536)
    assert answer.split(b" ", 2)[1] == status
    assert b"application/problem+json" in answer
    assert b"Traceback" not in answer


def test_an_agent_with_the_token_of_another_node_is_refused(server: RunningServer, agent: FakeAgent) -> None:
    from newbon_core.model.wire import Report

    with pytest.raises(ApiProblem) as caught:
        agent.client.report(Report(node="n2", boot_id="b", sent_at=0.0))
    assert caught.value.status == 403


# --- starting and stopping -------------------------------------------------------------------------------------------


def test_the_first_admin_token_is_only_for_its_owner(server: RunningServer) -> None:
    path = server._site.data_dir / "admin.token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().strip() == server.admin_token


def test_a_port_that_is_taken_is_said_in_a_sentence(tmp_path: Path, server: RunningServer) -> None:
    taken = replace(site_at(tmp_path), listen=server.url.removeprefix("http://"))
    with pytest.raises(ServerError, match="another program listens there"):
        run_server(taken)
