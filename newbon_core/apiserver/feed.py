"""Changes of the cache, handed to every stream that wants them; with enough history to resume.

One thread (the cache's) writes, one thread per stream reads its own bounded queue. A subscriber that reads too slowly
is told ``Overflow`` and has to list anew; the feeding thread never waits.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from newbon_core.model import Instance
from newbon_core.model.wire import StreamRequest
from newbon_core.state import Cache, ObjectChange
from newbon_core.state.codec import ObjectType
from newbon_core.state.fleet import changes_by_node

HISTORY = 100_000
BACKLOG = 50_000


class TooOld(Exception):
    """The revision to resume from is no longer (or not yet) known; list anew."""


class Overflow(Exception):
    """The subscriber read too slowly and has missed changes; list anew."""


class Closed(Exception):
    """The subscription was ended; the text says why."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one batch of the watch changed, complete up to ``revision``."""

    changes: Sequence[ObjectChange]
    revision: int


Item = Batch | StreamRequest | Overflow | Closed


class Subscription:
    """One stream's queue. ``take`` is for one thread."""

    def __init__(self, backlog: int) -> None:
        self._queue: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self._room = backlog
        self._backlog = backlog
        self._lock = threading.Lock()
        self._ended = False

    def push(self, item: Item) -> None:
        """Hand over an item without ever waiting; what no longer fits ends the subscription with Overflow."""
        size = len(item.changes) if isinstance(item, Batch) else 0
        with self._lock:
            if self._ended:
                return
            self._room -= size
            if self._room < 0 or isinstance(item, Closed):
                self._ended = True
                item = item if isinstance(item, Closed) else Overflow("changes came faster than they were read")
        self._queue.put(item)

    def take(self, timeout_s: float) -> Batch | StreamRequest | None:
        """The next item, or None when none came in time. Raises Overflow and Closed."""
        try:
            item = self._queue.get(timeout=timeout_s) if timeout_s > 0 else self._queue.get_nowait()
        except queue.Empty:
            return None
        if isinstance(item, Overflow | Closed):
            raise item
        if isinstance(item, Batch):
            with self._lock:
                self._room += len(item.changes)
        return item


class ChangeFeed:
    """See the module's docstring. Safe to use from many threads."""

    def __init__(self, cache: Cache, *, history: int = HISTORY, backlog: int = BACKLOG) -> None:
        self._cache = cache
        self._backlog = backlog
        self._lock = threading.Lock()
        self._history: deque[tuple[int, ObjectType, str]] = deque()
        self._size = history
        self._floor = cache.revision
        self._by_kind: dict[ObjectType, dict[Subscription, None]] = {}
        self._by_node: dict[str, Subscription] = {}
        self._closed = False
        self._unsubscribe = cache.subscribe(self._take)

    # --- subscribing ---

    def listen(
        self, kinds: Iterable[ObjectType], since: int | None
    ) -> tuple[Subscription, list[tuple[ObjectType, str]]]:
        """A subscription to these kinds, and what of them has changed after revision ``since`` (None: from now on).

        Raises TooOld.
        """
        kinds = frozenset(kinds)
        subscription = Subscription(self._backlog)
        with self._lock:
            missed = self._since(kinds, since) if since is not None else []
            if self._closed:
                subscription.push(Closed("the server is stopping"))
            for kind in kinds:
                self._by_kind.setdefault(kind, {})[subscription] = None
        return subscription, missed

    def listen_node(self, node: str) -> Subscription:
        """A subscription to the instances of one node; an earlier one of the same node ends."""
        subscription = Subscription(self._backlog)
        with self._lock:
            earlier = self._by_node.get(node)
            self._by_node[node] = subscription
            if self._closed:
                subscription.push(Closed("the server is stopping"))
        if earlier is not None:
            earlier.push(Closed(f"another stream of node {node} took its place"))
        return subscription

    def leave(self, subscription: Subscription, node: str | None = None) -> None:
        """End a subscription."""
        with self._lock:
            for listeners in self._by_kind.values():
                listeners.pop(subscription, None)
            if node is not None and self._by_node.get(node) is subscription:
                del self._by_node[node]

    def connected(self, node: str) -> bool:
        """Whether the node's agent listens for its orders here."""
        return node in self._by_node

    def connected_nodes(self) -> int:
        """How many agents listen here."""
        return len(self._by_node)

    def send(self, node: str, request: StreamRequest) -> bool:
        """Ask a node's agent for a stream; False when it is not connected."""
        subscription = self._by_node.get(node)
        if subscription is None:
            return False
        subscription.push(request)
        return True

    def disconnect(self, node: str, why: str) -> None:
        """End the stream of a node's agent."""
        subscription = self._by_node.get(node)
        if subscription is not None:
            subscription.push(Closed(why))

    def close(self, why: str = "the server is stopping") -> None:
        """End every subscription and stop listening to the cache."""
        self._unsubscribe()
        with self._lock:
            self._closed = True
            everyone = {one: None for listeners in self._by_kind.values() for one in listeners}
            everyone |= dict.fromkeys(self._by_node.values())
        for subscription in everyone:
            subscription.push(Closed(why))

    # --- feeding ---

    def _take(self, changes: list[ObjectChange], revision: int) -> None:
        if not changes:
            return
        by_kind: dict[ObjectType, list[ObjectChange]] = {}
        for change in changes:
            by_kind.setdefault(change.kind, []).append(change)
        nodes = changes_by_node(by_kind.get(Instance, ()))
        with self._lock:
            for change in changes:
                self._history.append((revision, change.kind, change.name))
            while len(self._history) > self._size:
                self._floor = self._history.popleft()[0]
            wanted: dict[Subscription, list[ObjectChange]] = {}
            for kind, some in by_kind.items():
                for subscription in self._by_kind.get(kind, ()):
                    known = wanted.get(subscription)
                    wanted[subscription] = some if known is None else known + some
            for subscription, some in wanted.items():
                subscription.push(Batch(some, revision))
            for node, some in nodes.items():
                agent = self._by_node.get(node)
                if agent is not None:
                    agent.push(Batch(some, revision))

    def _since(self, kinds: frozenset[ObjectType], since: int) -> list[tuple[ObjectType, str]]:
        if since < self._floor:
            raise TooOld(f"revision {since} is older than what is kept (from {self._floor})")
        if since > self._cache.revision:
            raise TooOld(f"revision {since} is not known here (the newest is {self._cache.revision})")
        found: dict[tuple[ObjectType, str], None] = {}
        for revision, kind, name in reversed(self._history):
            if revision <= since:
                break
            if kind in kinds:
                found[kind, name] = None
        return list(reversed(found))
