"""A client that is gone is noticed though nothing is written to it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from newbon_core.apiserver.peer import closed, gone
from newbon_core.apiserver.serving import HttpServer


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The server's and the client's end of one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        server, _ = listening.accept()
        with server, client:
            yield server, client


def within(seconds: float, what: Callable[[], bool]) -> bool:
    waiting = threading.Event()
    for _ in range(int(seconds / 0.01)):
        if what():
            return True
        waiting.wait(0.01)
    return what()


def test_a_connection_is_open_until_the_client_closes_it(ends: tuple[socket.socket, socket.socket]) -> None:
    server, client = ends
    assert not closed(server)
    client.sendall(b"unread")
    assert not closed(server)
    client.close()
    assert within(2.0, lambda: closed(server)), "what is left unread must not hide the end"
    server.close()
    assert closed(server)


def test_a_killed_client_leaves_a_reset_connection(ends: tuple[socket.socket, socket.socket]) -> None:
    server, client = ends
    server.sendall(b"never read")
    client.close()
    assert within(2.0, lambda: closed(server))


def test_an_answer_on_its_way_can_ask_for_its_reader() -> None:
    ended = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        has_gone = gone(environ)
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"first"
        if within(5.0, has_gone):
            ended.set()

    server = HttpServer(app, "127.0.0.1", 0)
    server.start()
    try:
        port = int(server.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            received = b""
            while b"first" not in received:
                received += client.recv(4096)
            assert not ended.wait(0.05)
        assert ended.wait(5.0)
    finally:
        server.stop()


def test_where_nobody_can_tell_the_client_is_there() -> None:
    assert not gone({})()
