"""One server over urllib3: requests, problems, and streamed answers. Nothing here knows what the paths mean."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from newbon_core.client.errors import ApiProblem, ServerUnreachable

CONNECT_TIMEOUT_S = 5.0
STREAM_SILENCE_S = 35.0
"""The server sends a heartbeat every 10 s on every stream of events; after three missed ones the line is taken for
dead. Logs and the output of commands are passed on as they are, so there the kernels at both ends watch the line."""
KEEP_ALIVE = [
    (socket.IPPROTO_TCP, getattr(socket, name), value)
    for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 5))
    # Not every system has all of them; without them its own, longer times count.
    if hasattr(socket, name)
]


class Transport:
    """Requests to one server with one token. Safe to use from many threads."""

    def __init__(self, url: str, token: str | None, *, ca: Path | None, timeout_s: float) -> None:
        self.url = url.rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"the server's address must begin with http:// or https://, not {url!r}")
        self._headers = {"Accept": "application/json", "User-Agent": "newbon-client"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._timeout_s = timeout_s
        self._pool = urllib3.PoolManager(
            maxsize=16,
            retries=False,
            cert_reqs="CERT_REQUIRED",
            ca_certs=str(ca) if ca is not None else None,
            socket_options=[
                *HTTPConnection.default_socket_options,
                (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
                *KEEP_ALIVE,
            ],
        )

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: object = None,
        raw: bytes | None = None,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Any:
        """The decoded JSON of the answer, or None where it has no body. ``raw`` is sent as it is, ``body`` as JSON."""
        response = self._send(method, path, params, body, raw, content_type, headers, timeout_s or self._timeout_s,
                              stream=False)  # fmt: skip
        data = response.data
        if not data:
            return None
        try:
            return json.loads(data)
        except ValueError as error:
            raise ServerUnreachable(f"{self.url}{path} did not answer with JSON; is this a Newbon server?") from error

    def open(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        silence_s: float | None = STREAM_SILENCE_S,
    ) -> BodyStream:
        """An answer that is read piece by piece; ends with ServerUnreachable when the line goes dead.

        ``silence_s`` is the longest time between two pieces; None where there may be any.
        """
        response = self._send(method, path, params, None, None, "", headers, silence_s, stream=True)
        return BodyStream(response, f"{self.url}{path}")

    def close(self) -> None:
        """Drop idle connections."""
        self._pool.clear()

    def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: object,
        raw: bytes | None,
        content_type: str,
        headers: Mapping[str, str] | None,
        timeout_s: float | None,
        *,
        stream: bool,
    ) -> BaseHTTPResponse:
        sent = self._headers | dict(headers or {})
        data = raw
        if body is not None:
            data = json.dumps(body, separators=(",", ":")).encode()
        if data is not None:
            sent["Content-Type"] = content_type
        timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=timeout_s)
        target = self.url + path + (f"?{urlencode(params)}" if params else "")
        response = self._request(method, target, data, sent, timeout, path, stream=stream)
        if response.status >= 400:
            raise _problem(response)
        return response

    def _request(
        self,
        method: str,
        target: str,
        data: bytes | None,
        headers: Mapping[str, str],
        timeout: urllib3.Timeout,
        path: str,
        *,
        stream: bool,
    ) -> BaseHTTPResponse:
        # A kept connection that the server has closed meanwhile is found out by using it; such a request never
        # reached the server, and only those that are safe to repeat are repeated.
        attempts = 2 if method in ("GET", "PUT", "DELETE") else 1
        for attempt in range(1, attempts + 1):
            try:
                return self._pool.request(
                    method,
                    target,
                    body=data,
                    headers=headers,
                    timeout=timeout,
                    preload_content=not stream,
                    redirect=False,
                )
            except HTTPError as error:
                stale = isinstance(error, urllib3.exceptions.ProtocolError)
                if not stale or attempt == attempts:
                    raise ServerUnreachable(_sentence(self.url, path, error)) from error
        raise AssertionError("unreachable")


class BodyStream:
    """The body of an answer, piece by piece as it comes. ``close`` may be called from another thread."""

    def __init__(self, response: BaseHTTPResponse, where: str) -> None:
        self._response = response
        self._where = where
        self._closed = False
        self.headers: Mapping[str, str] = response.headers

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._response.stream(65536, decode_content=False)
        except (HTTPError, OSError, ValueError, AttributeError) as error:
            # After close() from another thread urllib3 fails in one of several ways; all of them mean the end.
            if not self._closed:
                raise ServerUnreachable(f"the stream {self._where} was cut off: {_reason(error)}") from error
        finally:
            self._response.close()

    def close(self) -> None:
        """End the stream; a thread that reads it gets the end."""
        self._closed = True
        try:
            self._response.shutdown()
        except (ValueError, OSError):
            # Nothing is being read: there is no connection to shut down.
            self._response.close()


def _problem(response: BaseHTTPResponse) -> ApiProblem:
    try:
        found = json.loads(response.data)
    except (ValueError, HTTPError):
        found = None
    if not isinstance(found, dict):
        found = {}
    title = str(found.get("title") or f"HTTP {response.status}")
    retry_after = response.headers.get("Retry-After", "")
    return ApiProblem(
        response.status,
        title,
        str(found.get("detail") or ""),
        found.get("problems") or (),
        float(retry_after) if retry_after.isdigit() else None,
    )


def _sentence(url: str, path: str, error: HTTPError) -> str:
    return f"no answer from the server {url} ({path}): {_reason(error)}"


def _reason(error: BaseException) -> str:
    text = str(error)
    # urllib3 puts the connection object's repr before the text.
    return text.rpartition(">: ")[2] if ">: " in text else text
