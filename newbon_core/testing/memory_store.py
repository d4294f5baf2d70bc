"""A store in memory with etcd's semantics, for the simulator: deterministic, and fast at great volume."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence

from newbon_core.store.base import (
    Change,
    Compare,
    KeyValue,
    LeaseExpired,
    Put,
    StoreError,
    TransactionTooLarge,
    TxnResult,
    WatchBatch,
)


class MemoryStore:
    """Single-threaded: ``poll`` never sleeps. Leases end when ``expire(now)`` is called past their time."""

    def __init__(
        self, *, max_txn_ops: int = 128, max_value_bytes: int = 1 << 20, clock: Callable[[], float] = lambda: 0.0
    ) -> None:
        self.max_txn_ops = max_txn_ops
        self.max_value_bytes = max_value_bytes
        self.revision = 0
        self._clock = clock
        self._items: dict[str, KeyValue] = {}
        self._keys: list[str] = []
        self._log: list[tuple[int, tuple[Change, ...]]] = []
        self._compacted = 0
        self._leases: dict[int, tuple[float, float]] = {}
        self._bound: dict[str, int] = {}
        self._next_lease = 1

    def get(self, key: str) -> KeyValue | None:
        return self._items.get(key)

    def list(self, prefix: str) -> tuple[list[KeyValue], int]:
        first = bisect_left(self._keys, prefix)
        found = []
        for position in range(first, len(self._keys)):
            key = self._keys[position]
            if not key.startswith(prefix):
                break
            found.append(self._items[key])
        return found, self.revision

    def txn(self, compares: Sequence[Compare], puts: Sequence[Put], deletes: Sequence[str] = ()) -> TxnResult:
        operations = len(puts) + len(deletes)
        size = sum(len(put.value) for put in puts)
        if max(operations, len(compares)) > self.max_txn_ops or size > self.max_value_bytes:
            raise TransactionTooLarge(f"{operations} operations, {len(compares)} compares, {size} bytes")
        for put in puts:
            if put.lease and put.lease not in self._leases:
                raise LeaseExpired(f"lease {put.lease} of {put.key}")
        for compare in compares:
            item = self._items.get(compare.key)
            if (item.mod_revision if item is not None else 0) != compare.mod_revision:
                return TxnResult(False, self.revision)
        gone = [key for key in deletes if key in self._items]
        if not puts and not gone:
            return TxnResult(True, self.revision)
        self.revision += 1
        changes = [self._put(put) for put in puts]
        changes += [self._delete(key) for key in gone]
        self._log.append((self.revision, tuple(changes)))
        return TxnResult(True, self.revision)

    def _put(self, put: Put) -> Change:
        before = self._items.get(put.key)
        if before is None:
            insort(self._keys, put.key)
        created = before.create_revision if before is not None else self.revision
        self._items[put.key] = KeyValue(put.key, put.value, created, self.revision)
        if put.lease:
            self._bound[put.key] = put.lease
        else:
            self._bound.pop(put.key, None)
        return Change(put.key, put.value, created, self.revision)

    def _delete(self, key: str) -> Change:
        before = self._items.pop(key)
        del self._keys[bisect_left(self._keys, key)]
        self._bound.pop(key, None)
        return Change(key, None, before.create_revision, self.revision)

    def watch(self, prefix: str, from_revision: int) -> MemoryWatch:
        return MemoryWatch(self, prefix, from_revision)

    def grant_lease(self, ttl_s: float) -> int:
        lease = self._next_lease
        self._next_lease += 1
        self._leases[lease] = (ttl_s, self._clock() + ttl_s)
        return lease

    def keep_alive(self, lease: int) -> None:
        if lease not in self._leases:
            raise LeaseExpired(f"lease {lease}")
        ttl_s, _ = self._leases[lease]
        self._leases[lease] = (ttl_s, self._clock() + ttl_s)

    def revoke_lease(self, lease: int) -> None:
        if self._leases.pop(lease, None) is None:
            return
        gone = [key for key, bound in self._bound.items() if bound == lease]
        if gone:
            self.revision += 1
            self._log.append((self.revision, tuple(self._delete(key) for key in sorted(gone))))

    def expire(self, now: float) -> None:
        """End every lease whose time is over at ``now``."""
        for lease in [lease for lease, (_, until) in self._leases.items() if until <= now]:
            self.revoke_lease(lease)

    def compact(self, revision: int) -> None:
        revision = min(revision, self.revision)
        first = bisect_left(self._log, revision, key=lambda entry: entry[0])
        del self._log[:first]
        self._compacted = max(self._compacted, revision)

    def close(self) -> None:
        """Nothing to release."""

    def since(self, revision: int) -> Sequence[tuple[int, tuple[Change, ...]]] | None:
        """The log from ``revision`` on; None when a part of it is compacted."""
        if revision < self._compacted:
            return None
        if not self._log or revision > self.revision:
            return ()
        return self._log[bisect_left(self._log, revision, key=lambda entry: entry[0]) :]


class MemoryWatch:
    """Reads the store's log where it left off."""

    def __init__(self, store: MemoryStore, prefix: str, from_revision: int) -> None:
        self._store = store
        self._prefix = prefix
        self._next = from_revision
        self._closed = False

    def poll(self, timeout_s: float) -> WatchBatch | None:  # noqa: ARG002 - nothing happens while one waits here
        if self._closed:
            raise StoreError("the watch is closed")
        if self._next > self._store.revision:
            return None
        entries = self._store.since(self._next)
        revision = self._store.revision
        self._next = revision + 1
        if entries is None:
            items, revision = self._store.list(self._prefix)
            everything = [Change(one.key, one.value, one.create_revision, one.mod_revision) for one in items]
            return WatchBatch(everything, revision, reset=True)
        found = [change for _, changes in entries for change in changes if change.key.startswith(self._prefix)]
        return WatchBatch(found, revision) if found else None

    def close(self) -> None:
        self._closed = True
