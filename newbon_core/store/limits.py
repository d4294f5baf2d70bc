"""What every store asks of a transaction before it looks at anything else, and what their keys have in common."""

from __future__ import annotations

from collections.abc import Sequence

from newbon_core.store.base import Change, Compare, KeyValue, Put, TransactionTooLarge

MAX_TXN_OPS = 128
"""etcd's default (``--max-txn-ops``)."""

MAX_TXN_BYTES = 1_400_000
"""Below etcd's default of 1.5 MiB (``--max-request-bytes``), with room for what the encoding adds."""


def check_txn(
    max_ops: int, max_bytes: int, compares: Sequence[Compare], puts: Sequence[Put], deletes: Sequence[str]
) -> None:
    """Raise TransactionTooLarge where it exceeds the limits, ValueError where a key is empty or is written twice."""
    operations = len(puts) + len(deletes)
    if operations > max_ops or len(compares) > max_ops:
        raise TransactionTooLarge(
            f"a transaction of {len(compares)} compares and {operations} writes is too large: "
            f"at most {max_ops} of each are allowed"
        )
    keys = {put.key for put in puts}
    keys.update(deletes)
    if len(keys) != operations:
        raise ValueError(f"the key {_twice(puts, deletes)!r} is written twice in one transaction")
    if "" in keys:
        raise ValueError("a key must not be empty")
    size = sum(len(put.value) + len(put.key) for put in puts) + sum(map(len, deletes))
    if size > max_bytes:
        raise TransactionTooLarge(f"a transaction of {size} bytes is too large: at most {max_bytes} are allowed")


def _twice(puts: Sequence[Put], deletes: Sequence[str]) -> str:
    seen: set[str] = set()
    for key in [*(put.key for put in puts), *deletes]:
        if key in seen:
            return key
        seen.add(key)
    return ""


def prefix_range(prefix: str) -> tuple[bytes, bytes | None]:
    """First key and the key after the last under a prefix, as UTF-8 (whose order is that of the code points).

    The end is None where every key is under the prefix.
    """
    first = prefix.encode()
    # UTF-8 never holds 0xff, so the last byte can always be raised.
    return (first, first[:-1] + bytes([first[-1] + 1])) if first else (b"", None)


def change_of(item: KeyValue) -> Change:
    """A key as it stands, as the change that made it so."""
    return Change(item.key, item.value, item.create_revision, item.mod_revision)
