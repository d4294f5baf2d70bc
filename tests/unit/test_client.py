"""The client against a scripted server: problems, dead lines, resuming, and what it never says."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newbon_core.client import AgentClient, ApiProblem, Client, ServerUnreachable, join
from newbon_core.client.sse import ServerEvent, read_events
from newbon_core.client.transport import Transport
from newbon_core.model.wire import OrdersUpdate, StreamEnd, StreamRequest

TOKEN = "abc123.verysecretsecret"
Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers each request with the next of the server's script."""

    protocol_version = "HTTP/1.1"
    server: Scripted

    def handle_one_request(self) -> None:
        super().handle_one_request()

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.server.seen.append((self.command, self.path, dict(self.headers), self.rfile.read(length)))
        answer = self.server.script.pop(0) if self.server.script else status(500)
        answer(self)

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _answer

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class Scripted(ThreadingHTTPServer):
    """A server that gives the answers of ``script`` one after another and remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Answer] = []
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


def says(
    body: object, code: int = 200, headers: dict[str, str] | None = None, kind: str = "application/json"
) -> Answer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    def answer(handler: Handler) -> None:
        handler.send_response(code)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def status(code: int) -> Answer:
    return says(b"", code)


def events(*texts: str, cut: bool = False) -> Answer:
    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for text in texts:
            data = text.encode()
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        if not cut:
            handler.wfile.write(b"0\r\n\r\n")
        handler.close_connection = True

    return answer


def hangs_up(handler: Handler) -> None:
    handler.close_connection = True


def event(kind: str, body: object, number: int | None = None) -> str:
    head = "" if number is None else f"id: {number}\n"
    return f"{head}event: {kind}\ndata: {json.dumps(body)}\n\n"


@pytest.fixture
def server() -> Iterator[Scripted]:
    scripted = Scripted()
    thread = threading.Thread(target=scripted.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield scripted
    scripted.shutdown()
    scripted.server_close()


@pytest.fixture
def client(server: Scripted) -> Client:
    return Client(server.url, TOKEN, timeout_s=2.0)


# --- requests --------------------------------------------------------------------------------------------------------


def test_every_request_carries_the_token(server: Scripted, client: Client) -> None:
    server.script = [says({"name": "web"})]
    assert client.service("web")["name"] == "web"
    assert server.seen[0][:2] == ("GET", "/v1/services/web")
    assert server.seen[0][2]["Authorization"] == f"Bearer {TOKEN}"


def test_names_cannot_escape_from_their_path(server: Scripted, client: Client) -> None:
    server.script = [says({})]
    client.service("../tokens?x=/y")
    assert server.seen[0][1] == "/v1/services/..%2Ftokens%3Fx%3D%2Fy"


def test_pages_are_joined(server: Scripted, client: Client) -> None:
    server.script = [
        says({"items": [{"name": "a"}], "continue": "n"}),
        says({"items": [{"name": "b"}], "continue": None}),
    ]
    assert [one["name"] for one in client.services(selector="tier=web")] == ["a", "b"]
    assert "selector=tier%3Dweb" in server.seen[0][1]
    assert "continue=n" in server.seen[1][1]


def test_documents_are_sent_as_they_are(server: Scripted, client: Client) -> None:
    server.script = [says({}), says({})]
    client.apply("kind: Service\n", dry_run=True)
    client.apply([{"kind": "Service"}])
    assert server.seen[0][1:][1]["Content-Type"] == "application/yaml"
    assert server.seen[0][1] == "/v1/documents?dry_run=true"
    assert server.seen[0][3] == b"kind: Service\n"
    assert json.loads(server.seen[1][3]) == {"documents": [{"kind": "Service"}]}


def test_a_problem_is_told_whole(server: Scripted, client: Client) -> None:
    body = {
        "title": "Unprocessable",
        "detail": "nothing was changed",
        "problems": [{"path": "image", "message": "missing"}],
    }
    server.script = [says(body, 422, {"Retry-After": "7"}, "application/problem+json")]
    with pytest.raises(ApiProblem, match="nothing was changed") as caught:
        client.apply("x")
    assert (caught.value.status, caught.value.retry_after_s) == (422, 7.0)
    assert caught.value.problems[0]["path"] == "image"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"x"', b"{", b"\xff"])
def test_an_error_without_a_problem_is_an_error_all_the_same(server: Scripted, client: Client, body: bytes) -> None:
    server.script = [says(body, 500, kind="text/html")]
    with pytest.raises(ApiProblem, match="500"):
        client.scale("web", 3)


def test_what_is_no_newbon_server_is_said(server: Scripted, client: Client) -> None:
    server.script = [says(b"<html>hello</html>", kind="text/html")]
    with pytest.raises(ServerUnreachable, match="is this a Newbon server"):
        client.services()


def test_redirects_are_not_followed_with_the_token(server: Scripted, client: Client) -> None:
    server.script = [says(b"", 302, {"Location": "http://elsewhere.example/"})]
    client.delete("service", "web")
    assert len(server.seen) == 1


def test_nobody_there_is_a_sentence(server: Scripted) -> None:
    client = Client("http://127.0.0.1:1", TOKEN, timeout_s=1.0)
    with pytest.raises(ServerUnreachable, match="no answer from the server http"):
        client.services()


def test_a_kept_connection_that_died_is_made_anew_for_what_is_safe_to_repeat(server: Scripted, client: Client) -> None:
    server.script = [hangs_up, says({"name": "web"})]
    assert client.service("web")["name"] == "web"
    server.script = [hangs_up, says({"id": "x"})]
    with pytest.raises(ServerUnreachable):
        client.exec("web-1", ["true"])


@pytest.mark.parametrize("url", ["example.org", "ftp://example.org", ""])
def test_an_address_must_be_http(url: str) -> None:
    with pytest.raises(ValueError, match="http"):
        Client(url, TOKEN)


def test_the_token_is_never_logged_nor_shown(
    server: Scripted, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    server.script = [says({"items": [], "continue": None}), status(401), hangs_up, hangs_up]
    with caplog.at_level(logging.DEBUG):
        client.services()
        for _ in range(2):
            with pytest.raises((ApiProblem, ServerUnreachable)) as caught:
                client.services()
            assert "verysecret" not in str(caught.value)
    assert "verysecret" not in caplog.text
    assert "verysecret" not in repr(vars(client))


# --- streams ---------------------------------------------------------------------------------------------------------

texts = st.text(st.characters(blacklist_characters="\r\n\0", blacklist_categories=("Cs",)), max_size=8)


@given(st.lists(st.tuples(texts, st.lists(texts, min_size=1, max_size=3), texts), max_size=5), st.data())
def test_events_are_read_however_they_are_cut(sent: list[tuple[str, list[str], str]], data: st.DataObject) -> None:
    wire = "".join(
        f": comment\nid: {number}\nevent: {kind}\n" + "".join(f"data: {line}\n" for line in lines) + "\n"
        for kind, lines, number in sent
    ).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=6)))
    pieces = [wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    expected = [ServerEvent(kind, "\n".join(lines), number) for kind, lines, number in sent]
    assert list(read_events(pieces)) == expected


def test_an_event_that_was_cut_off_is_dropped() -> None:
    assert list(read_events([b"event: put\ndata: {}\n"])) == []


def test_a_watch_resumes_after_the_last_complete_state(server: Scripted, client: Client) -> None:
    server.script = [
        events(event("put", {"name": "a"}), cut=True),
        events(event("put", {"name": "a"}), event("synced", {}, 5), event("put", {"name": "b"}, 6), cut=True),
        events(event("deleted", {"name": "a"}), event("synced", {}, 9)),
        events(event("reset", {"reason": "too old"}), event("put", {"name": "z"}), event("synced", {}, 20)),
    ]
    watch = client.watch("/v1/services", params={"selector": "x"})
    watch._pause = lambda _: None
    seen = []
    for one in watch:
        seen.append((one.event, one.object.get("name"), one.revision))
        if one.revision == 20:
            watch.close()
    assert seen == [
        ("put", "a", 0),
        ("put", "a", 0),
        ("synced", None, 5),
        ("put", "b", 6),
        ("deleted", "a", 6),
        ("synced", None, 9),
        ("reset", None, 0),
        ("put", "z", 0),
        ("synced", None, 20),
    ]
    asked = [path for _, path, _, _ in server.seen]
    assert ["revision=" in path for path in asked] == [False, False, True, True]
    assert asked[2].endswith("revision=6")
    assert asked[3].endswith("revision=9")


def test_a_watch_gives_up_when_it_is_told_to(server: Scripted) -> None:
    watch = Client("http://127.0.0.1:1", TOKEN).watch("/v1/services", give_up_s=1.0)
    watch._pause = lambda _: None
    with pytest.raises(ServerUnreachable):
        list(watch)


def test_a_watch_that_is_refused_says_so(server: Scripted, client: Client) -> None:
    server.script = [says({"title": "Forbidden"}, 403)]
    with pytest.raises(ApiProblem):
        list(client.watch("/v1/services"))


def test_closing_a_watch_ends_its_iteration(server: Scripted, client: Client) -> None:
    release = threading.Event()

    def open_ended(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        data = event("synced", {}, 1).encode()
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        handler.wfile.flush()
        release.wait(10.0)
        handler.close_connection = True

    server.script = [open_ended]
    watch = client.watch("/v1/services")
    first = threading.Event()

    def follow() -> None:
        for _ in watch:
            first.set()

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    assert first.wait(5.0)
    watch.close()
    thread.join(5.0)
    release.set()
    assert not thread.is_alive()


def test_a_log_may_be_silent_for_longer_than_a_stream_of_events(
    server: Scripted, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(Transport.open.__kwdefaults__, "silence_s", 0.1)

    def pauses(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/octet-stream")
        handler.end_headers()
        time.sleep(0.3)
        handler.wfile.write(b"late")
        handler.close_connection = True

    server.script = [pauses]
    assert list(client.logs("web-1", follow=True)) == [b"late"]


def test_logs_that_end_with_an_error_raise_it_after_the_output(server: Scripted, client: Client) -> None:
    server.script = [
        says(b"line\n", headers={"X-Newbon-Stream": "s1"}, kind="application/octet-stream"),
        says({"id": "s1", "state": "ended", "error": "the agent of node n1 has gone"}),
    ]
    got = []
    with pytest.raises(ApiProblem, match="has gone"):
        got.extend(client.logs("web-1", tail=3))
    assert server.seen[0][1] == "/v1/instances/web-1/logs?tail=3"


# --- agents ----------------------------------------------------------------------------------------------------------


def test_joining_gives_the_nodes_token(server: Scripted) -> None:
    server.script = [says({"node": "n1", "token": "x.y"}, 201)]
    assert join(server.url, TOKEN, "n1") == "x.y"


def test_orders_and_requests_for_streams_are_told_apart(server: Scripted) -> None:
    server.script = [
        events(
            event("orders", {"revision": 5, "full": True}, 5),
            ": heartbeat\n\n",
            event("stream", {"id": "s", "kind": "logs", "instance": "web-1", "uid": "u"}),
            event("unheard-of", {}),
        )
    ]
    found = list(AgentClient(server.url, TOKEN).orders())
    assert found == [
        OrdersUpdate(revision=5, full=True),
        StreamRequest(id="s", kind="logs", instance="web-1", uid="u"),
    ]


def test_orders_that_cannot_be_read_end_the_stream(server: Scripted) -> None:
    server.script = [events(event("orders", {"revision": "soon"}))]
    with pytest.raises(ServerUnreachable, match="cannot be read"):
        list(AgentClient(server.url, TOKEN).orders())


def test_a_stream_that_nobody_reads_is_no_error(server: Scripted) -> None:
    agent = AgentClient(server.url, TOKEN)
    server.script = [status(204), status(410), status(404), status(410), status(403)]
    assert agent.stream_output("s", b"x")
    assert not agent.stream_output("s", b"x")
    assert not agent.stream_output("s", b"x")
    agent.stream_end("s", StreamEnd(exit_code=0))
    with pytest.raises(ApiProblem):
        agent.stream_output("s", b"x")
