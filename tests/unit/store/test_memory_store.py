"""The store in memory: the suite of every store, and its own clock."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from newbon_core.store.base import Put
from newbon_core.testing.memory_store import MemoryStore
from newbon_core.testing.store_conformance import StoreConformance


class TestConformance(StoreConformance):
    now = 0.0

    @pytest.fixture
    def store(self) -> Iterator[MemoryStore]:
        self.now = 100.0
        store = MemoryStore(clock=lambda: self.now)
        yield store
        store.close()

    def pass_time(self, seconds: float) -> None:
        self.now += seconds


def test_leases_end_in_the_order_of_their_deadlines() -> None:
    store = MemoryStore(clock=lambda: 0.0)
    for ttl_s in (3.0, 1.0, 2.0):
        store.txn([], [Put(f"/ttl/{ttl_s}", b"", store.grant_lease(ttl_s))])
    watch = store.watch("/", store.revision + 1)
    store.expire(2.0)
    batch = watch.poll(0)
    assert batch is not None
    assert [change.key for change in batch.changes] == ["/ttl/1.0", "/ttl/2.0"]
    assert store.get("/ttl/3.0") is not None


def test_keys_that_come_and_go_leave_nothing_behind() -> None:
    store = MemoryStore()
    for number in range(5000):
        store.txn([], [Put(f"/events/{number}", b"")], [f"/events/{number - 1}"])
        if number % 100 == 0:
            assert [item.key for item in store.list("/events/")[0]] == [f"/events/{number}"]
    assert len(store) == 1
    assert len(store._sorted) < 1200, "the index of keys must not grow with what is gone"
