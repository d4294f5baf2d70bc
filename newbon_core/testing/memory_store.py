"""A store in memory with etcd's semantics: deterministic and fast, for the simulator and for unit tests."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from math import inf

from newbon_core.store.base import (
    Change,
    Compare,
    KeyValue,
    LeaseExpired,
    Put,
    StoreUnavailable,
    TxnResult,
)
from newbon_core.store.feed import ChangeLog, LogWatch
from newbon_core.store.limits import MAX_TXN_BYTES, MAX_TXN_OPS, check_txn
from newbon_core.store.pipelined import TxnRequest

# Inside the class the name ``list`` is a method.
_Keys = list[str]


class MemoryStore:
    """See ``newbon_core.store.base.Store``. History is kept until it is compacted.

    ``clock`` gives the seconds by which leases expire: before every operation that comes at or after their deadline,
    and when ``expire`` is called. Nothing here starts a thread, and nothing sleeps but a ``poll`` with a timeout.
    """

    def __init__(self, max_txn_ops: int = MAX_TXN_OPS, clock: Callable[[], float] = time.monotonic) -> None:
        self.max_txn_ops = max_txn_ops
        self.max_value_bytes = MAX_TXN_BYTES
        self._clock = clock
        self._log = ChangeLog(revision=1)
        self._log.complete_from = 1
        self._lock = self._log.condition
        self._items: dict[str, Change] = {}
        self._sorted: _Keys = []
        self._unsorted: _Keys = []
        self._gone: set[str] = set()
        self._leases: dict[int, _Lease] = {}
        self._lease_of: dict[str, int] = {}
        self._granted = 0
        self._deadline = inf

    @property
    def revision(self) -> int:
        """The store's present revision."""
        return self._log.revision

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: str) -> KeyValue | None:
        """See ``Store.get``."""
        with self._lock:
            self._begin()
            present = self._items.get(key)
            return _item(present) if present is not None else None

    def list(self, prefix: str) -> tuple[list[KeyValue], int]:
        """See ``Store.list``."""
        with self._lock:
            self._begin()
            keys, items = self._keys(), self._items
            found: list[KeyValue] = []
            for position in range(bisect_left(keys, prefix), len(keys)):
                key = keys[position]
                if not key.startswith(prefix):
                    break
                item = items.get(key)
                if item is not None:
                    found.append(_item(item))
            return found, self._log.revision

    def _keys(self) -> _Keys:
        """Every key in order; those that are gone are only taken out when they have become many."""
        if self._unsorted:
            self._sorted += self._unsorted
            self._sorted.sort()
            self._unsorted = []
        if len(self._gone) > 1000 + len(self._items):
            self._sorted = [key for key in self._sorted if key not in self._gone]
            self._gone.clear()
        return self._sorted

    def txn(self, compares: Sequence[Compare], puts: Sequence[Put], deletes: Sequence[str] = ()) -> TxnResult:
        """See ``Store.txn``."""
        check_txn(self.max_txn_ops, self.max_value_bytes, compares, puts, deletes)
        with self._lock:
            self._begin()
            items = self._items
            for compare in compares:
                present = items.get(compare.key)
                if (present.revision if present is not None else 0) != compare.mod_revision:
                    return TxnResult(False, self._log.revision)
            for put in puts:
                if put.lease and put.lease not in self._leases:
                    raise LeaseExpired(f"the lease {put.lease} of the key {put.key!r} is gone")
            revision = self._log.revision + 1
            changes = [self._put(put, revision) for put in puts]
            changes += [self._delete(key, revision) for key in deletes if key in items]
            if changes:
                self._log.append(changes, revision)
            return TxnResult(True, self._log.revision)

    def txn_many(self, txns: Sequence[TxnRequest]) -> Sequence[TxnResult]:
        """See ``Pipelined.txn_many``; here it is one after another."""
        return [self.txn(compares, puts, deletes) for compares, puts, deletes in txns]

    def _put(self, put: Put, revision: int) -> Change:
        key = put.key
        present = self._items.get(key)
        if present is None:
            created = revision
            if key in self._gone:
                self._gone.discard(key)
            else:
                self._unsorted.append(key)
        else:
            created = present.create_revision
        change = self._items[key] = Change(key, put.value, created, revision)
        if self._leases:
            self._bind(key, put.lease)
        return change

    def _delete(self, key: str, revision: int) -> Change:
        del self._items[key]
        self._gone.add(key)
        if self._leases:
            self._bind(key, 0)
        return Change(key, None, 0, revision)

    def _bind(self, key: str, lease: int) -> None:
        before = self._lease_of.pop(key, 0)
        if before:
            self._leases[before].keys.pop(key, None)
        if lease:
            self._lease_of[key] = lease
            self._leases[lease].keys[key] = None

    def watch(self, prefix: str, from_revision: int) -> LogWatch:
        """See ``Store.watch``."""
        with self._lock:
            self._begin()
            return LogWatch(self._log, prefix, from_revision, self.list)

    # --- leases ---

    def grant_lease(self, ttl_s: float) -> int:
        """See ``Store.grant_lease``."""
        with self._lock:
            self._begin()
            self._granted += 1
            self._leases[self._granted] = _Lease(ttl_s, self._clock() + ttl_s)
            self._deadline = min(self._deadline, self._leases[self._granted].deadline)
            return self._granted

    def keep_alive(self, lease: int) -> None:
        """See ``Store.keep_alive``."""
        with self._lock:
            self._begin()
            present = self._leases.get(lease)
            if present is None:
                raise LeaseExpired(f"the lease {lease} is gone")
            present.deadline = self._clock() + present.ttl_s
            self._next_deadline()

    def revoke_lease(self, lease: int) -> None:
        """See ``Store.revoke_lease``."""
        with self._lock:
            self._begin()
            self._revoke(lease)
            self._next_deadline()

    def expire(self, now: float) -> None:
        """End every lease whose deadline is at or before ``now`` (seconds of ``clock``), in the order of deadlines."""
        with self._lock:
            due = [(lease.deadline, number) for number, lease in self._leases.items() if lease.deadline <= now]
            for _, number in sorted(due):
                self._revoke(number)
            self._next_deadline()

    def _revoke(self, lease: int) -> None:
        present = self._leases.get(lease)
        if present is None:
            return
        revision = self._log.revision + 1
        changes = [self._delete(key, revision) for key in sorted(present.keys)]
        del self._leases[lease]
        if changes:
            self._log.append(changes, revision)

    def _next_deadline(self) -> None:
        self._deadline = min((lease.deadline for lease in self._leases.values()), default=inf)

    def _begin(self) -> None:
        if self._log.closed:
            raise StoreUnavailable("the store was closed")
        if self._deadline < inf:
            now = self._clock()
            if now >= self._deadline:
                self.expire(now)

    # --- the end ---

    def compact(self, revision: int) -> None:
        """See ``Store.compact``; a revision that is yet to come counts as the present one."""
        with self._lock:
            self._begin()
            self._log.trim(min(revision, self._log.revision))

    def close(self) -> None:
        """See ``Store.close``."""
        self._log.close()


class _Lease:
    __slots__ = ("deadline", "keys", "ttl_s")

    def __init__(self, ttl_s: float, deadline: float) -> None:
        self.ttl_s = ttl_s
        self.deadline = deadline
        self.keys: dict[str, None] = {}


def _item(change: Change) -> KeyValue:
    # What stands was put, so it has a value.
    return KeyValue(change.key, change.value or b"", change.create_revision, change.revision)
