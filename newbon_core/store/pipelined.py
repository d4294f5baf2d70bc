"""Many independent transactions at once, where a store can overlap them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from newbon_core.store.base import Compare, Put, Store, TxnResult

TxnRequest = tuple[Sequence[Compare], Sequence[Put], Sequence[str]]
"""Compares, puts and deletes: the arguments of ``Store.txn``."""


@runtime_checkable
class Pipelined(Protocol):
    """A store that can have several transactions under way."""

    def txn_many(self, txns: Sequence[TxnRequest]) -> Sequence[TxnResult]:
        """The results in the order of ``txns``; each stands for itself, and no order among them is promised.

        Raises what ``txn`` raises, after all of them have ended: then any of them may have happened.
        """
        ...


def txn_many(store: Store, txns: Sequence[TxnRequest]) -> Sequence[TxnResult]:
    """``store.txn_many`` where it has one, else one after another."""
    if isinstance(store, Pipelined):
        return store.txn_many(txns)
    return [store.txn(compares, puts, deletes) for compares, puts, deletes in txns]
