"""Logs and commands, carried between a user's request and an agent's: bounded both ways, and every end is told.

The user's side reads output and writes input; the agent's side does the reverse. Neither buffer grows: who writes
faster than the other reads has to wait.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from newbon_core.client.views import StreamView
from newbon_core.model.wire import StreamEnd, StreamInput, StreamRequest

OUTPUT_BYTES = 1024 * 1024
INPUT_BYTES = 256 * 1024
ANSWER_WITHIN_S = 10.0
READ_WITHIN_S = 30.0
KEPT_S = 60.0
AWAY_S = 5.0
Put = Literal["taken", "ended", "full"]


class TooManyStreams(Exception):
    """As many streams as allowed are open."""


@dataclass
class Pipe:
    """One direction: pieces up to a number of bytes, and an end."""

    limit: int
    ready: threading.Condition
    pieces: deque[bytes] = field(default_factory=deque)
    size: int = 0
    closed: bool = False

    def put(self, data: bytes, timeout_s: float) -> Put:
        """Add a piece, waiting for room; "full" when there was none in time. One piece may exceed the limit."""
        deadline = time.monotonic() + timeout_s
        with self.ready:
            while self.size >= self.limit and not self.closed:
                left = deadline - time.monotonic()
                if left <= 0:
                    return "full"
                self.ready.wait(left)
            if self.closed:
                return "ended"
            self.pieces.append(data)
            self.size += len(data)
            self.ready.notify_all()
            return "taken"

    def take(self, timeout_s: float) -> bytes | None:
        """The next piece; b"" when none came in time; None at the end."""
        deadline = time.monotonic() + timeout_s
        with self.ready:
            while not self.pieces:
                if self.closed:
                    return None
                left = deadline - time.monotonic()
                if left <= 0:
                    return b""
                self.ready.wait(left)
            data = self.pieces.popleft()
            self.size -= len(data)
            self.ready.notify_all()
            return data

    def close(self, *, drop: bool = False) -> None:
        """Nothing more comes; with ``drop`` what is there is not wanted either."""
        with self.ready:
            self.closed = True
            if drop:
                self.pieces.clear()
                self.size = 0
            self.ready.notify_all()


class Stream:
    """One log or command on its way. Methods may be called from any thread."""

    def __init__(self, request: StreamRequest, node: str, now: float) -> None:
        self.request = request
        self.node = node
        self.begun_at = now
        self.answered = False
        self.read = False
        self.end: StreamEnd | None = None
        self.ended_at: float | None = None
        lock = threading.Condition()
        self.output = Pipe(OUTPUT_BYTES, lock)
        self.input = Pipe(INPUT_BYTES, lock)

    @property
    def id(self) -> str:
        """Random, 128 bits."""
        return self.request.id

    def finish(self, end: StreamEnd, now: float) -> None:
        """The first end counts. What was put out before may still be read."""
        if self.end is None:
            self.end = end
            self.ended_at = now
        self.output.close()
        self.input.close()

    def abandon(self, now: float) -> None:
        """The reader has gone."""
        if self.end is None:
            self.finish(StreamEnd(error="the reader has gone"), now)
        self.output.close(drop=True)

    def view(self) -> StreamView:
        """As the API shows it."""
        state: Literal["waiting", "open", "ended"] = "open" if self.answered else "waiting"
        return StreamView(
            id=self.id,
            kind=self.request.kind,
            instance=self.request.instance,
            node=self.node,
            state="ended" if self.end is not None else state,
            exit_code=self.end.exit_code if self.end is not None else None,
            error=self.end.error if self.end is not None else None,
        )


class Streams:
    """All streams of this server. ``sweep`` has to be called every second or so."""

    def __init__(
        self,
        send: Callable[[str, StreamRequest], bool],
        connected: Callable[[str], bool],
        *,
        limit: int = 200,
        new_id: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        self._send = send
        self._connected = connected
        self._limit = limit
        self._new_id = new_id
        self._streams: dict[str, Stream] = {}
        self._away_since: dict[str, float] = {}
        self._lock = threading.Lock()

    def open(self, make: Callable[[str], StreamRequest], node: str, now: float) -> Stream:
        """Ask the node's agent for a stream; one that cannot be asked ends at once. Raises TooManyStreams."""
        stream = Stream(make(self._new_id()), node, now)
        with self._lock:
            if sum(one.end is None for one in self._streams.values()) >= self._limit:
                raise TooManyStreams(f"{self._limit} streams are open, which is as many as this server allows")
            self._streams[stream.id] = stream
        if not self._send(node, stream.request):
            stream.finish(StreamEnd(error=f"the agent of node {node} is not connected"), now)
        return stream

    def get(self, stream_id: str) -> Stream | None:
        """A stream by its id; ended ones are kept for a minute."""
        return self._streams.get(stream_id)

    def count(self) -> int:
        """Streams that have not ended."""
        return sum(one.end is None for one in list(self._streams.values()))

    def put_input(self, stream: Stream, piece: StreamInput, encoded: bytes, timeout_s: float) -> Put:
        """Pass something on to the agent; ``closed`` ends the direction."""
        done = stream.input.put(encoded, timeout_s)
        if piece.closed:
            stream.input.close()
        return done

    def sweep(self, now: float) -> None:
        """End what nobody answers, reads or carries any more, and forget what ended a while ago."""
        for stream in list(self._streams.values()):
            why = self._over(stream, now) if stream.end is None else None
            if why is not None:
                stream.finish(StreamEnd(error=why), now)
            if stream.ended_at is not None and now - stream.ended_at > KEPT_S:
                stream.output.close(drop=True)
                self._streams.pop(stream.id, None)
        self._away_since = {node: since for node, since in self._away_since.items() if not self._connected(node)}

    def close(self, now: float) -> None:
        """End every stream: the server is stopping."""
        for stream in list(self._streams.values()):
            stream.finish(StreamEnd(error="the server is stopping"), now)

    def _over(self, stream: Stream, now: float) -> str | None:
        age = now - stream.begun_at
        if not stream.answered and age > ANSWER_WITHIN_S:
            return f"the agent of node {stream.node} did not answer within {ANSWER_WITHIN_S:g} s"
        if not stream.read and age > READ_WITHIN_S:
            return f"nobody read the output within {READ_WITHIN_S:g} s"
        if not self._connected(stream.node):
            since = self._away_since.setdefault(stream.node, now)
            if now - since > AWAY_S:
                return f"the agent of node {stream.node} has gone"
        return None
