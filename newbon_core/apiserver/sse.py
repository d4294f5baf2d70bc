"""Server-sent events: lists that are watched. A client that was away resumes by revision and misses nothing.

What is sent is each object as it is when it is sent: a slow client sees fewer states in between, never an old one last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from flask import Response, request

from newbon_core.apiserver.auth import identity
from newbon_core.apiserver.context import Context
from newbon_core.apiserver.errors import Problem, encode
from newbon_core.apiserver.feed import Batch, Closed, Overflow, Subscription, TooOld
from newbon_core.apiserver.peer import gone
from newbon_core.state.codec import ObjectType

HEARTBEAT_S = 10.0
HEARTBEAT = b": heartbeat\n\n"
PIECE_BYTES = 64 * 1024
"""Events go out in pieces of about so many bytes: each piece costs the server a system call."""
CONTENT_TYPE = "text/event-stream"
Item = Mapping[str, Any]


class Source(Protocol):
    """A list that can be watched: keys in order, and each key's item as it is now."""

    kinds: frozenset[ObjectType]
    pace_s: float
    """At least so many seconds between two batches: for items that change with everything (counts, sums)."""

    def keys(self) -> Iterable[Any]:
        """The keys of all items; they can be ordered."""
        ...

    def view(self, key: Any) -> Item | None:
        """The item now; None when it is gone."""
        ...

    def touched(self, kind: ObjectType, name: str) -> Iterable[Any]:
        """The keys of the items that the change of an object concerns."""
        ...

    def name(self, key: Any) -> str:
        """What a deleted item was called."""
        ...


def event(kind: str, body: object, revision: int | None = None) -> bytes:
    """One event on the wire; its id is what a client may resume from, so only a complete state gets one."""
    number = b"" if revision is None else b"id: %d\n" % revision
    if kind == "reset":
        number = b"id\n"
    return b"%sevent: %s\ndata: %s\n\n" % (number, kind.encode(), encode(body))


def in_pieces(events: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in fewer and larger pieces."""
    held: list[bytes] = []
    size = 0
    for one in events:
        held.append(one)
        size += len(one)
        if size >= PIECE_BYTES:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


def watch_response(context: Context, source: Source, match: Callable[[Item], bool], since: int | None) -> Response:
    """The stream of a watched list. Raises Problem 429 when too many are open."""
    if context.metrics.watches() >= context.limits.watches:
        raise Problem(429, f"{context.limits.watches} watches are open already", headers={"Retry-After": "10"})
    watcher = Watcher(context, source, match, since)
    return stream(context, "watch", watcher.run())


def stream(context: Context, kind: str, body: Iterator[bytes]) -> Response:
    """A response of events; it ends when the token that it was opened with does."""
    who = identity()
    has_gone = gone(request.environ)

    def counted() -> Iterator[bytes]:
        with context.metrics.stream(kind):
            # The first piece makes the server send the headers at once.
            yield b": newbon\n\n"
            for piece in body:
                if piece is HEARTBEAT and (has_gone() or not context.auth.still_valid(who)):
                    return
                yield piece

    response = Response(counted(), content_type=CONTENT_TYPE)
    response.headers["X-Accel-Buffering"] = "no"
    return response


class Watcher:
    """One watch: the list or what was missed, then every change."""

    def __init__(self, context: Context, source: Source, match: Callable[[Item], bool], since: int | None) -> None:
        self._cache = context.cache
        self._feed = context.feed
        self._source = source
        self._match = match
        self._since = since
        self._shown: set[Any] = set()
        # After resuming it is not known what the client has seen: then everything that does not match is told as gone.
        self._knows = True

    def run(self) -> Iterator[bytes]:
        """The events, until the client, the server or an overflow ends it."""
        try:
            subscription, missed = self._feed.listen(self._source.kinds, self._since)
            resumed = self._since is not None
        except TooOld as error:
            yield event("reset", {"reason": str(error)})
            subscription, missed = self._feed.listen(self._source.kinds, None)
            resumed = False
        try:
            revision = self._cache.revision
            if resumed:
                self._knows = False
                yield from in_pieces(self._changed(self._keys(missed), revision))
            else:
                yield from in_pieces(self._everything())
            yield event("synced", {}, revision)
            yield from self._follow(subscription)
        except Overflow as error:
            yield event("reset", {"reason": str(error)})
        except Closed:
            # The client reconnects and resumes where it was.
            return
        finally:
            self._feed.leave(subscription)

    def _follow(self, subscription: Subscription) -> Iterator[bytes]:
        while True:
            found = subscription.take(HEARTBEAT_S)
            if not isinstance(found, Batch):
                yield HEARTBEAT
                continue
            revision = found.revision
            keys = self._keys((change.kind, change.name) for change in found.changes)
            # What came meanwhile goes out together; with a pace, what comes within it too.
            wait = self._source.pace_s
            while True:
                more = subscription.take(wait)
                if not isinstance(more, Batch):
                    break
                wait = 0.0
                revision = more.revision
                keys |= self._keys((change.kind, change.name) for change in more.changes)
            yield from in_pieces(self._changed(keys, revision))

    def _keys(self, objects: Iterable[tuple[ObjectType, str]]) -> dict[Any, None]:
        return {key: None for kind, name in objects for key in self._source.touched(kind, name)}

    def _everything(self) -> Iterator[bytes]:
        for key in sorted(self._source.keys()):
            item = self._source.view(key)
            if item is not None and self._match(item):
                self._shown.add(key)
                yield event("put", item)

    def _changed(self, keys: Iterable[Any], revision: int) -> Iterator[bytes]:
        """The changes up to ``revision``; only after the last of them a client has seen it all."""
        held: tuple[str, Item] | None = None
        for key in keys:
            found = self._told(key)
            if found is None:
                continue
            if held is not None:
                yield event(*held)
            held = found
        if held is not None:
            yield event(*held, revision)

    def _told(self, key: Any) -> tuple[str, Item] | None:
        item = self._source.view(key)
        if item is not None and self._match(item):
            self._shown.add(key)
            return "put", item
        if key in self._shown or not self._knows:
            self._shown.discard(key)
            return "deleted", {"name": self._source.name(key)}
        return None
