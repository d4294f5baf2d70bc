"""Carries logs and commands from containers to the server: a few threads per stream, and only so many streams."""

from __future__ import annotations

import base64
import binascii
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from newbon_core.agent.link import StreamLink
from newbon_core.agent.transfer import Transfer
from newbon_core.client import ClientError
from newbon_core.hooks import Container, ExecSession, Runtime, RuntimeFailure
from newbon_core.model.wire import StreamEnd, StreamRequest

_log = logging.getLogger(__name__)

MAX_STREAMS = 32
_READ_S = 1.0

Find = Callable[[str], tuple[str, Container] | None]
"""Runtime and container of a uid; None when this node has none."""


class StreamCarrier:
    """Takes the server's StreamRequests. Thread-safe."""

    def __init__(self, link: StreamLink, runtimes: Mapping[str, Runtime], find: Find, limit: int = MAX_STREAMS) -> None:
        self._link = link
        self._runtimes = runtimes
        self._find = find
        self._limit = limit
        self._lock = threading.Lock()
        self._hang_ups: dict[str, Callable[[], None]] = {}
        self._open: set[str] = set()

    def open(self, request: StreamRequest) -> None:
        """Begin to carry it, in threads of its own; returns at once. A request that is carried already is ignored."""
        with self._lock:
            if request.id in self._open:
                return
            full = len(self._open) >= self._limit
            self._open.add(request.id)
        target = self._refuse if full else self._carry
        threading.Thread(target=target, args=(request,), name=f"newbon-stream-{request.id[:8]}", daemon=True).start()

    def close(self) -> None:
        """Hang up on everything."""
        with self._lock:
            hang_ups = list(self._hang_ups.values())
        for hang_up in hang_ups:
            hang_up()

    def _refuse(self, request: StreamRequest) -> None:
        self._end(request, StreamEnd(error=f"the agent carries {self._limit} streams already, which is its limit"))

    def _carry(self, request: StreamRequest) -> None:
        try:
            end = self._run(request)
        except RuntimeFailure as failure:
            end = StreamEnd(error=str(failure))
        except ClientError as error:
            _log.info("stream %s was cut off: %s", request.id[:8], error)
            end = StreamEnd(error="the line between agent and server was cut")
        except Exception as error:  # noqa: BLE001  a plugin's bug is told to the user and logged, and ends one stream
            _log.exception("stream %s of %s failed", request.id[:8], request.instance)
            end = StreamEnd(error=f"{type(error).__name__}: {error}")
        self._end(request, end)

    def _end(self, request: StreamRequest, end: StreamEnd) -> None:
        with self._lock:
            self._open.discard(request.id)
            self._hang_ups.pop(request.id, None)
        try:
            self._link.stream_end(request.id, end)
        except ClientError as error:
            _log.info("the end of stream %s could not be told: %s", request.id[:8], error)

    def _run(self, request: StreamRequest) -> StreamEnd:
        found = self._find(request.uid)
        if found is None:
            return StreamEnd(error=f"instance {request.instance} has no container on this node")
        runtime, container = self._runtimes[found[0]], found[1]
        return self._logs(request, runtime, container) if request.kind == "logs" else self._exec(
            request, runtime, container
        )  # fmt: skip

    def _logs(self, request: StreamRequest, runtime: Runtime, container: Container) -> StreamEnd:
        pieces = runtime.logs(
            container.id, follow=request.follow, tail=request.tail, since=request.since, timestamps=request.timestamps
        )
        transfer = Transfer(
            pieces, getattr(pieces, "close", lambda: None), partial(self._link.stream_output, request.id)
        )
        self._listen(request, None, transfer.hang_up)
        transfer.run()
        return StreamEnd()

    def _exec(self, request: StreamRequest, runtime: Runtime, container: Container) -> StreamEnd:
        session = runtime.exec(
            container.id, request.command, tty=request.tty, stdin=request.stdin, rows=request.rows,
            columns=request.columns,
        )  # fmt: skip
        transfer = Transfer(_output_of(session), session.close, partial(self._link.stream_output, request.id))
        try:
            self._listen(request, session, transfer.hang_up)
            transfer.run()
            return StreamEnd(exit_code=_exit_code(session))
        finally:
            session.close()

    def _listen(self, request: StreamRequest, session: ExecSession | None, hang_up: Callable[[], None]) -> None:
        """Pass the user's input on, and hang up when the user does; in a thread of its own."""
        with self._lock:
            self._hang_ups[request.id] = hang_up

        def listen() -> None:
            try:
                for piece in self._link.stream_input(request.id):
                    if piece.closed:
                        break
                    if session is not None and piece.rows is not None and piece.columns is not None:
                        session.resize(piece.rows, piece.columns)
                    if session is not None and piece.data is not None:
                        session.write(base64.b64decode(piece.data, validate=True))
            except (ClientError, RuntimeFailure, binascii.Error) as error:
                _log.info("input of stream %s ended: %s", request.id[:8], error)
            if request.id in self._open:
                hang_up()

        threading.Thread(target=listen, name=f"newbon-input-{request.id[:8]}", daemon=True).start()


def _output_of(session: ExecSession) -> Iterator[bytes]:
    while (piece := session.read(_READ_S)) is not None:
        yield piece


def _exit_code(session: ExecSession) -> int | None:
    """The command's exit code; engines know it a moment after its output has ended."""
    pause = threading.Event()
    for _ in range(40):
        code = session.exit_code()
        if code is not None:
            return code
        pause.wait(0.05)
    return None
