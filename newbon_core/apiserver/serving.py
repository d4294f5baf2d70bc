"""cheroot, set up for many open streams: each holds a thread, so the pool grows before it runs dry."""

from __future__ import annotations

import http
import json
import logging
import queue
import ssl
import threading
from functools import partial
from pathlib import Path
from typing import Any

from cheroot.server import HTTPConnection, HTTPRequest
from cheroot.ssl.builtin import BuiltinSSLAdapter
from cheroot.workers.threadpool import ThreadPool, WorkerThread
from cheroot.wsgi import Gateway_10, Server

from newbon_core.apiserver.peer import GONE_KEY, closed

log = logging.getLogger(__name__)
HEADER_BYTES = 32 * 1024
BODY_BYTES = 32 * 1024 * 1024
"""Beyond this a connection is cut; the app's own limits are far below, and say so politely."""
SILENCE_S = 20
"""How long a client may take between two pieces of its request, or to take a piece of the answer."""
MIN_THREADS = 16
MAX_THREADS = 1600
IDLE = 8


class GrowingPool(ThreadPool):
    """Threads are added whenever fewer than ``IDLE`` would be free, and taken back when many are."""

    # cheroot's stub leaves these out.
    _queue: queue.Queue[Any]
    _threads: list[WorkerThread]

    def put(self, obj: Any) -> None:
        """Hand a connection to a free thread; there is always one up to MAX_THREADS."""
        if self._queue.qsize() + IDLE // 2 >= self.idle and len(self._threads) < self.max:
            # ThreadPool.grow() sleeps until each thread runs, which would hold up every other connection.
            self._threads += [self._spawn_worker() for _ in range(IDLE)]
        super().put(obj)

    def trim(self) -> None:
        """Let go of threads that nothing needs; to be called now and then."""
        spare = self.idle - self._queue.qsize() - 4 * IDLE
        if spare > 0:
            self.shrink(spare)

    def _spawn_worker(self) -> WorkerThread:
        worker = WorkerThread(self.server)  # type: ignore[no-untyped-call]  # cheroot's stub has no types here
        worker.name = f"newbon http {worker.name}"
        worker.daemon = True
        worker.start()
        return worker


class PoliteRequest(HTTPRequest):
    """What cheroot refuses by itself (headers too large, not HTTP) is told as a problem too."""

    def simple_response(self, status: Any, msg: str = "") -> None:
        """Send a short answer that does not come from the app."""
        number = int(str(status).split(" ", 1)[0])
        if number < 400:
            super().simple_response(status, msg)
            return
        phrase = http.HTTPStatus(number).phrase
        body = json.dumps({"type": "about:blank", "title": phrase, "status": number, "detail": msg or phrase})
        self.close_connection = True
        head = (
            f"{self.server.protocol} {number} {phrase}\r\nContent-Type: application/problem+json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        try:
            self.conn.wfile.write((head + body).encode("ascii", "replace"))
        except OSError as error:
            log.debug("could not tell %s of a bad request: %s", self.conn.remote_addr, error)


class PoliteConnection(HTTPConnection):
    """A connection whose requests are polite."""

    RequestHandlerClass = PoliteRequest


class Gateway(Gateway_10):
    """Lets an answer that goes on for long ask whether anybody still reads it."""

    def get_environ(self) -> dict[str, Any]:  # type: ignore[override]  # cheroot's stub says None
        """The request's environment."""
        environ: dict[str, Any] = super().get_environ()  # type: ignore[no-untyped-call]  # as above
        environ[GONE_KEY] = partial(closed, self.req.conn.socket)
        return environ


class HttpServer:
    """The app on one address. ``start`` returns once it listens, ``stop`` when all requests have ended."""

    def __init__(self, app: Any, host: str, port: int, *, cert: Path | None = None, key: Path | None = None) -> None:
        self._server = Server((host, port), app, server_name="newbon", request_queue_size=512, timeout=SILENCE_S)
        self._server.ConnectionClass = PoliteConnection
        self._server.gateway = Gateway
        self._server.requests = GrowingPool(self._server, min=MIN_THREADS, max=MAX_THREADS)
        self._server.max_request_header_size = HEADER_BYTES
        self._server.max_request_body_size = BODY_BYTES
        self._server.shutdown_timeout = 5
        setattr(self._server, "error_log", _error_log)  # noqa: B010 - a method, replaced as cheroot says to
        self._tls = cert is not None
        if cert is not None:
            self._server.ssl_adapter = BuiltinSSLAdapter(str(cert), str(key))
            self._server.ssl_adapter.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._host = host
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where a client on this machine finds it."""
        host, port = self._server.bind_addr[:2]
        if host in ("0.0.0.0", "::", ""):
            host = "127.0.0.1"
        shown = f"[{host}]" if ":" in host else host
        return f"{'https' if self._tls else 'http'}://{shown}:{port}"

    def start(self) -> None:
        """Listen and serve in threads. Raises OSError when the address cannot be had."""
        self._server.prepare()
        self._thread = threading.Thread(target=self._serve, name="newbon http", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        self._server.serve()

    def trim(self) -> None:
        """Let go of spare threads."""
        self._server.requests.trim()

    @property
    def threads(self) -> int:
        """Threads that serve or wait to."""
        return len(self._server.requests._threads)

    def stop(self) -> None:
        """Stop accepting, let requests finish within five seconds, and close."""
        if self._thread is None:
            return
        self._server.stop()
        self._thread.join(10.0)


def _error_log(msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
    log.log(level, "%s", msg, exc_info=traceback)
