"""The store protocol: etcd's semantics, small enough for SQLite and for a dict.

One global revision counts successful writing transactions. Every key remembers the revision that created it and the one
that changed it last. A transaction is all or nothing. A watch delivers every change of its prefix once and in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class StoreError(Exception):
    """Base of what a store raises."""


class StoreUnavailable(StoreError):
    """The store did not answer. A transaction that raises this may or may not have happened: read before you repeat."""


class Compacted(StoreError):
    """The revision asked for is no longer kept; list anew."""


class LeaseExpired(StoreError):
    """The lease is gone, and with it the keys that were bound to it."""


class TransactionTooLarge(StoreError):
    """More operations than ``Store.max_txn_ops``, or more bytes than ``Store.max_value_bytes`` allows."""


@dataclass(frozen=True, slots=True)
class KeyValue:
    """One key as it stands; ``create_revision`` tells it apart from an earlier one of its name."""

    key: str
    value: bytes
    create_revision: int
    mod_revision: int


@dataclass(frozen=True, slots=True)
class Compare:
    """Holds when the key was changed last at ``mod_revision``; 0 holds when the key is absent."""

    key: str
    mod_revision: int


@dataclass(frozen=True, slots=True)
class Put:
    """Write ``value``; ``lease`` binds the key to a lease (0: none)."""

    key: str
    value: bytes
    lease: int = 0


@dataclass(frozen=True, slots=True)
class TxnResult:
    """``revision`` is that of the write, or, where ``succeeded`` is False, the store's present one."""

    succeeded: bool
    revision: int


@dataclass(frozen=True, slots=True)
class Change:
    """One key's change; ``value`` is None where it was deleted.

    Then ``revision`` is that of the deletion and ``create_revision`` is 0.
    """

    key: str
    value: bytes | None
    create_revision: int
    revision: int


@dataclass(frozen=True, slots=True)
class WatchBatch:
    """What a watch saw: ``changes`` in order, complete up to ``revision``.

    ``reset`` means that changes were missed (the store compacted them): ``changes`` is then the whole present content
    of the prefix, and what is not in it is gone.
    """

    changes: Sequence[Change]
    revision: int
    reset: bool = False


class Watch(Protocol):
    """A running watch; it survives restarts of its server by itself."""

    def poll(self, timeout_s: float) -> WatchBatch | None:
        """The next batch, or None when none came within ``timeout_s`` seconds (0: do not wait).

        Never splits one revision over two batches. Raises StoreError only when the watch was closed.
        """
        ...

    def close(self) -> None:
        """Stop watching; a ``poll`` that waits in another thread returns None at once."""
        ...


class Store(Protocol):
    """See the module's docstring. Safe to use from many threads."""

    max_txn_ops: int
    """How many compares, and how many puts plus deletes, one transaction may hold."""

    max_value_bytes: int
    """How many bytes one transaction may carry in all."""

    def get(self, key: str) -> KeyValue | None:
        """The key as it stands now (linearizable), or None."""
        ...

    def list(self, prefix: str) -> tuple[list[KeyValue], int]:
        """Every key under ``prefix``, sorted, and the revision at which this was the whole truth."""
        ...

    def txn(self, compares: Sequence[Compare], puts: Sequence[Put], deletes: Sequence[str] = ()) -> TxnResult:
        """Write all of it if every compare holds, else nothing. What it acknowledged is durable.

        A key may occur once among puts and deletes. Deleting an absent key is allowed.
        Raises StoreUnavailable, TransactionTooLarge, LeaseExpired.
        """
        ...

    def watch(self, prefix: str, from_revision: int) -> Watch:
        """Every change under ``prefix`` with a revision >= ``from_revision``, then what comes."""
        ...

    def grant_lease(self, ttl_s: float) -> int:
        """A new lease; unless kept alive it expires after ``ttl_s`` and takes its keys with it."""
        ...

    def keep_alive(self, lease: int) -> None:
        """Begin the lease's time anew. Raises LeaseExpired."""
        ...

    def revoke_lease(self, lease: int) -> None:
        """End the lease and delete its keys; one that is gone already is no error."""
        ...

    def compact(self, revision: int) -> None:
        """Forget history before ``revision``."""
        ...

    def close(self) -> None:
        """Release connections and threads. Watches end."""
        ...
