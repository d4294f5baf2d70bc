"""The ground of a simulation: virtual time, one queue of events, chance from one seed, a network and a store that fail.

Nothing here knows what is simulated.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from random import Random

from newbon_core.store.base import Compare, KeyValue, Put, Store, StoreUnavailable, TxnResult, Watch

EPOCH = 1_700_000_000.0
"""Seconds since the epoch at which every simulation begins."""

_LOG_LINES = 60


class Crash(BaseException):
    """A simulated process dies here. Not an Exception: no code under test may survive it."""


class World:
    """Virtual time in seconds since the epoch, and what is going to happen; ties happen in the order of planning."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now = EPOCH
        self.steps = 0
        self.log: deque[str] = deque(maxlen=_LOG_LINES)
        self.after_step: Callable[[], None] = lambda: None
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._planned = 0
        self._ids = 0

    def at(self, time: float, what: Callable[[], None]) -> None:
        """Have something happen at a time, or now where that is past."""
        self._planned += 1
        heapq.heappush(self._queue, (max(time, self.now), self._planned, what))

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        """Have something happen in so many seconds."""
        self.at(self.now + seconds, what)

    def next_at(self) -> float | None:
        """When the next thing happens."""
        return self._queue[0][0] if self._queue else None

    def step(self) -> None:
        """Let the next thing happen."""
        time, _, what = heapq.heappop(self._queue)
        self.now = time
        self.steps += 1
        what()
        self.after_step()

    def tell(self, line: str) -> None:
        """Remember what happened, for whoever has to understand a failure."""
        self.log.append(f"{self.now - EPOCH:10.3f}  {line}")

    def new_id(self) -> str:
        """Unique within the run, and the same in every run of the seed."""
        self._ids += 1
        return f"{self._ids:08x}"

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.random.random() < probability


class Network:
    """Messages between nodes and the server: each arrives late, some never, some twice."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._cut: dict[str, int] = {}
        self.loss = 0.0
        self.repeat = 0.0
        self.delay_s = (0.001, 0.005)

    def cut(self, node: str) -> None:
        """Partition a node from the server; cuts add up."""
        self._cut[node] = self._cut.get(node, 0) + 1

    def mend(self, node: str) -> None:
        """Take one cut back."""
        left = self._cut.get(node, 0) - 1
        if left > 0:
            self._cut[node] = left
        else:
            self._cut.pop(node, None)

    def is_cut(self, node: str) -> bool:
        """True while nothing passes."""
        return node in self._cut

    def loses(self, node: str) -> bool:
        """True where a message that is sent now does not arrive."""
        return self.is_cut(node) or (self.loss > 0 and self._world.chance(self.loss))

    def send(self, node: str, deliver: Callable[[], None], *, repeatable: bool = False) -> bool:
        """Carry a message from or to a node. False where it is lost (the sender does not learn that from this)."""
        world = self._world
        if self.loses(node):
            return False
        world.after(world.random.uniform(*self.delay_s), lambda: self._arrive(node, deliver))
        if repeatable and self.repeat and world.chance(self.repeat):
            world.after(world.random.uniform(0.0, 20.0), lambda: self._arrive(node, deliver))
        return True

    def _arrive(self, node: str, deliver: Callable[[], None]) -> None:
        if not self.is_cut(node):
            deliver()


TxnSeen = Callable[[Sequence[Compare], Sequence[Put], Sequence[str], TxnResult], None]


class FaultyStore:
    """A store that can be away, and whose transactions end their caller, or their answer, at the wrong moment.

    ``trap`` is armed with how many transactions still pass and what then happens: ``crash-before``, ``crash-after``,
    ``fail-before`` or ``fail-after`` the write. ``seen`` is told of every transaction that was written.
    """

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.max_txn_ops = inner.max_txn_ops
        self.max_value_bytes = inner.max_value_bytes
        self.away = False
        self.trap: tuple[int, str] | None = None
        self.seen: TxnSeen = lambda compares, puts, deletes, result: None  # noqa: ARG005  nobody watches yet
        self.trapped: Callable[[str], None] = lambda kind: None  # noqa: ARG005  nobody watches yet

    def _check(self) -> None:
        if self.away:
            raise StoreUnavailable("the store is away (simulated)")

    def get(self, key: str) -> KeyValue | None:
        """See Store."""
        self._check()
        return self.inner.get(key)

    def list(self, prefix: str) -> tuple[list[KeyValue], int]:
        """See Store."""
        self._check()
        return self.inner.list(prefix)

    def txn(self, compares: Sequence[Compare], puts: Sequence[Put], deletes: Sequence[str] = ()) -> TxnResult:
        """See Store."""
        self._check()
        kind = self._spring()
        self._strike(kind, "before")
        result = self.inner.txn(compares, puts, deletes)
        if result.succeeded:
            self.seen(compares, puts, deletes, result)
        self._strike(kind, "after")
        return result

    def _spring(self) -> str:
        if self.trap is None:
            return ""
        left, kind = self.trap
        self.trap = (left - 1, kind) if left > 0 else None
        return kind if left <= 0 else ""

    def _strike(self, kind: str, moment: str) -> None:
        what, _, when = kind.partition("-")
        if when != moment:
            return
        self.trapped(kind)
        if what == "crash":
            raise Crash(f"{kind} the write")
        raise StoreUnavailable(f"no answer: {kind} the write (simulated)")

    def watch(self, prefix: str, from_revision: int) -> Watch:
        """See Store."""
        self._check()
        return self.inner.watch(prefix, from_revision)

    def grant_lease(self, ttl_s: float) -> int:
        """See Store."""
        self._check()
        return self.inner.grant_lease(ttl_s)

    def keep_alive(self, lease: int) -> None:
        """See Store."""
        self._check()
        self.inner.keep_alive(lease)

    def revoke_lease(self, lease: int) -> None:
        """See Store."""
        self._check()
        self.inner.revoke_lease(lease)

    def compact(self, revision: int) -> None:
        """See Store."""
        self._check()
        self.inner.compact(revision)

    def close(self) -> None:
        """See Store."""
        self.inner.close()
