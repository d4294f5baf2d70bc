"""Logs and commands: the engine's two ways to carry bytes."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import docker
import requests

from newbon_core.hooks import RuntimeFailure
from newbon_runtime_docker.errors import away, engine_call

_HEADER = struct.Struct(">BxxxL")
_PIECE = 65536


class Demultiplexer:
    """Takes the engine's frames (8 bytes of header, then data of stdout or stderr) apart, however they were cut."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> bytes:
        """The payload that is complete so far of both streams, in order."""
        self._rest += piece
        payload = b""
        while len(self._rest) >= _HEADER.size:
            _, length = _HEADER.unpack_from(self._rest)
            if len(self._rest) < _HEADER.size + length:
                break
            payload += self._rest[_HEADER.size : _HEADER.size + length]
            self._rest = self._rest[_HEADER.size + length :]
        return payload


class LogStream:
    """An iterator over the payload of a log answer. ``close`` may be called from another thread and ends it."""

    def __init__(self, response: requests.Response, url: str) -> None:
        self._response = response
        self._url = url
        self._closed = False
        self._demultiplexer = Demultiplexer()
        self._pieces = response.raw.stream(_PIECE)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        while True:
            try:
                piece = next(self._pieces)
            except StopIteration:
                self._response.close()
                raise
            except Exception as error:
                self._response.close()
                if self._closed:
                    raise StopIteration from error
                raise away(self._url, error) from error
            payload = self._demultiplexer.feed(piece)
            if payload:
                return payload

    def close(self) -> None:
        """End it; a thread that reads gets the end."""
        self._closed = True
        try:
            self._response.raw.shutdown()
        except (ValueError, OSError):
            self._response.close()


def hijack(url: str, path: str, body: dict[str, Any], timeout_s: float) -> tuple[socket.socket, bytes]:
    """POST and take the connection over: the socket, and what already came of the stream.

    The SDK's own way reads the answer's head through a buffer and loses what the buffer took of the stream.
    Raises RuntimeFailure.
    """
    try:
        connection = _connect(url, timeout_s)
        data = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(data)}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        )
        connection.sendall(head.encode() + data)
        answer = b""
        while b"\r\n\r\n" not in answer:
            piece = connection.recv(_PIECE)
            if not piece:
                raise ConnectionError("the engine closed the connection")
            answer += piece
    except OSError as error:
        raise away(url, error) from error
    headers, _, rest = answer.partition(b"\r\n\r\n")
    status = headers.split(b" ", 2)[1]
    if status not in (b"101", b"200"):
        connection.close()
        raise RuntimeFailure(f"the command cannot be run: {rest.decode(errors='replace').strip()}")
    connection.settimeout(None)
    return connection, rest


def _connect(url: str, timeout_s: float) -> socket.socket:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout_s)
        connection.connect(parts.path)
        return connection
    return socket.create_connection((parts.hostname or "localhost", parts.port or 2375), timeout_s)


class DockerExec:
    """One command; see ``newbon_core.hooks.ExecSession``. One thread reads, others may write."""

    def __init__(
        self, api: docker.APIClient, exec_id: str, connection: socket.socket, rest: bytes, *, tty: bool, url: str
    ) -> None:
        self._api = api
        self._id = exec_id
        self._connection = connection
        self._demultiplexer = None if tty else Demultiplexer()
        self._first = rest
        self._url = url
        self._code: int | None = None
        self._ended = False

    def read(self, timeout_s: float) -> bytes | None:
        """Output; b"" when none came in time; None when the command has ended."""
        if self._ended:
            return None
        if self._first:
            piece, self._first = self._first, b""
            return self._payload(piece)
        # A timeout of the socket itself would cut writes of other threads short.
        try:
            if not select.select([self._connection], [], [], timeout_s)[0]:
                return b""
            piece = self._connection.recv(_PIECE)
        except (OSError, ValueError):
            piece = b""
        if not piece:
            self._ended = True
            return None
        return self._payload(piece)

    def _payload(self, piece: bytes) -> bytes:
        return self._demultiplexer.feed(piece) if self._demultiplexer is not None else piece

    def write(self, data: bytes) -> None:
        """Input; b"" closes it. What comes after the command's end is dropped."""
        with contextlib.suppress(OSError):
            if data:
                self._connection.sendall(data)
            else:
                self._connection.shutdown(socket.SHUT_WR)

    def resize(self, rows: int, columns: int) -> None:
        """Tell the terminal; a command that has ended already does not mind."""
        with contextlib.suppress(docker.errors.APIError), engine_call("resize", self._url):
            self._api.exec_resize(self._id, height=rows, width=columns)

    def exit_code(self) -> int | None:
        """None while it runs."""
        if self._code is None:
            with engine_call("command", self._url):
                found = self._api.exec_inspect(self._id)
            if not found["Running"]:
                self._code = found["ExitCode"]
        return self._code

    def close(self) -> None:
        """Hang up: the command gets the end of its input, a terminal's command SIGHUP."""
        self._ended = True
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()
