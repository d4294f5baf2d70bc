"""What every store has to do. Subclass ``StoreConformance``, name it ``Test…`` and give it a ``store`` fixture.

Each test works below a prefix of its own (``room``), so all of them may share one server.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator

import pytest

from newbon_core.store.base import (
    Change,
    Compare,
    LeaseExpired,
    Put,
    Store,
    StoreError,
    TransactionTooLarge,
    Watch,
    WatchBatch,
)
from newbon_core.store.pipelined import TxnRequest, txn_many

PATIENCE_S = 10.0
"""How long a test waits for what has to come."""

QUIET_S = 0.05
"""How long a test waits for what must not come."""


def put(store: Store, key: str, value: bytes = b"x", lease: int = 0) -> int:
    """Write one key, whatever was there; returns the revision."""
    return store.txn([], [Put(key, value, lease)]).revision


def next_batch(watch: Watch) -> WatchBatch:
    """The next batch, waiting for it."""
    batch = watch.poll(PATIENCE_S)
    assert batch is not None, f"no batch came within {PATIENCE_S} s"
    return batch


def collect(watch: Watch, count: int) -> list[Change]:
    """So many changes, of as many batches as it takes."""
    changes: list[Change] = []
    while len(changes) < count:
        batch = next_batch(watch)
        assert not batch.reset
        assert changes == [] or batch.changes[0].revision > changes[-1].revision, "a revision came in two batches"
        assert batch.changes[-1].revision <= batch.revision
        changes += batch.changes
    return changes


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Wait for a condition; fails the test when it does not come."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"{what} did not happen within {PATIENCE_S} s"
        time.sleep(0.01)


class StoreConformance:
    """The suite. ``lease_ttl_s`` is a short time to live that the store can do."""

    lease_ttl_s = 1.0

    @pytest.fixture
    def store(self) -> Iterator[Store]:
        """The store under test."""
        raise NotImplementedError

    @pytest.fixture
    def room(self) -> str:
        """A prefix that is this test's own."""
        return f"/conformance/{uuid.uuid4().hex}/"

    def pass_time(self, seconds: float) -> None:
        """Let time pass for leases; a store with a clock of its own moves that."""
        time.sleep(seconds)

    # --- keys and revisions ---

    def test_an_absent_key_is_none(self, store: Store, room: str) -> None:
        assert store.get(f"{room}nothing") is None

    def test_a_key_remembers_who_made_it_and_who_changed_it_last(self, store: Store, room: str) -> None:
        created = put(store, f"{room}a", b"1")
        changed = put(store, f"{room}a", b"2")
        item = store.get(f"{room}a")
        assert item is not None
        assert (item.key, item.value, item.create_revision, item.mod_revision) == (f"{room}a", b"2", created, changed)
        assert created < changed

    def test_a_key_that_was_deleted_and_made_again_is_another_one(self, store: Store, room: str) -> None:
        put(store, f"{room}a")
        store.txn([], [], [f"{room}a"])
        assert store.get(f"{room}a") is None
        again = put(store, f"{room}a")
        item = store.get(f"{room}a")
        assert item is not None
        assert item.create_revision == item.mod_revision == again

    def test_every_writing_transaction_is_one_revision(self, store: Store, room: str) -> None:
        first = put(store, f"{room}a")
        second = store.txn([], [Put(f"{room}b", b"1"), Put(f"{room}c", b"2")], [f"{room}a"]).revision
        assert second == first + 1
        assert {item.mod_revision for item in store.list(room)[0]} == {second}

    def test_what_writes_nothing_makes_no_revision(self, store: Store, room: str) -> None:
        before = put(store, f"{room}a")
        assert store.txn([Compare(f"{room}a", before)], []).revision == before
        assert store.txn([], [], [f"{room}absent"]).succeeded
        assert store.list(room)[1] == before

    @pytest.mark.parametrize("value", [b"", b"\x00\xff\n", bytes(1_000_000)], ids=["empty", "binary", "large"])
    def test_any_bytes_come_back(self, store: Store, room: str, value: bytes) -> None:
        put(store, f"{room}a", value)
        item = store.get(f"{room}a")
        assert item is not None
        assert item.value == value

    def test_a_list_is_sorted_and_holds_its_prefix_only(self, store: Store, room: str) -> None:
        names = ["b", "a/1", "a", "a0", "ä", "z", "日本", "😀", "A"]
        revision = store.txn([], [Put(f"{room}in/{name}", name.encode()) for name in names]).revision
        revision = max(revision, put(store, f"{room}in0"), put(store, f"{room}im"))
        items, at = store.list(f"{room}in/")
        assert [item.key for item in items] == sorted(f"{room}in/{name}" for name in names)
        assert [item.value for item in items] == [name.encode() for name in sorted(names)]
        assert at == revision

    def test_an_empty_list_has_a_revision_to_watch_from(self, store: Store, room: str) -> None:
        items, revision = store.list(room)
        assert items == []
        watch = store.watch(room, revision + 1)
        put(store, f"{room}a")
        assert [change.key for change in collect(watch, 1)] == [f"{room}a"]

    def test_a_long_list_is_whole(self, store: Store, room: str) -> None:
        for first in range(0, 1200, 100):
            store.txn([], [Put(f"{room}{number:05d}", b"v" * 100) for number in range(first, first + 100)])
        items, _ = store.list(room)
        assert [item.key for item in items] == [f"{room}{number:05d}" for number in range(1200)]

    # --- transactions ---

    def test_a_key_is_created_only_where_it_is_absent(self, store: Store, room: str) -> None:
        assert store.txn([Compare(f"{room}a", 0)], [Put(f"{room}a", b"1")]).succeeded
        refused = store.txn([Compare(f"{room}a", 0)], [Put(f"{room}a", b"2")])
        assert not refused.succeeded
        assert refused.revision == store.list(room)[1]

    def test_a_key_is_changed_only_where_it_is_as_it_was_seen(self, store: Store, room: str) -> None:
        seen = put(store, f"{room}a", b"1")
        put(store, f"{room}a", b"2")
        assert not store.txn([Compare(f"{room}a", seen)], [Put(f"{room}a", b"3")]).succeeded
        item = store.get(f"{room}a")
        assert item is not None
        assert item.value == b"2"

    def test_one_compare_that_fails_stops_all_of_it(self, store: Store, room: str) -> None:
        seen = put(store, f"{room}a", b"1")
        kept = put(store, f"{room}b", b"1")
        compares = [Compare(f"{room}a", seen), Compare(f"{room}c", 1)]
        assert not store.txn(compares, [Put(f"{room}a", b"2"), Put(f"{room}d", b"2")], [f"{room}b"]).succeeded
        assert {item.key: item.mod_revision for item in store.list(room)[0]} == {f"{room}a": seen, f"{room}b": kept}

    def test_a_full_transaction_is_taken_and_a_larger_one_is_refused(self, store: Store, room: str) -> None:
        puts = [Put(f"{room}{number:05d}", b"") for number in range(store.max_txn_ops + 1)]
        compares = [Compare(one.key, 0) for one in puts]
        assert store.txn(compares[:-1], puts[:-1]).succeeded
        with pytest.raises(TransactionTooLarge):
            store.txn(compares, [])
        with pytest.raises(TransactionTooLarge):
            store.txn([], puts)

    def test_too_many_bytes_are_refused(self, store: Store, room: str) -> None:
        with pytest.raises(TransactionTooLarge):
            store.txn([], [Put(f"{room}a", bytes(store.max_value_bytes + 1))])
        assert store.get(f"{room}a") is None

    def test_a_key_is_written_once_in_a_transaction(self, store: Store, room: str) -> None:
        with pytest.raises(ValueError, match="twice"):
            store.txn([], [Put(f"{room}a", b"")], [f"{room}a"])
        with pytest.raises(ValueError, match="empty"):
            store.txn([], [Put("", b"")])

    def test_many_transactions_at_once_each_stand_for_themselves(self, store: Store, room: str) -> None:
        present = put(store, f"{room}present")
        asked: list[TxnRequest] = [([Compare(f"{room}{n}", 0)], [Put(f"{room}{n}", b"")], []) for n in range(20)]
        asked += [([Compare(f"{room}present", present - 1)], [Put(f"{room}never", b"")], [])]
        results = txn_many(store, asked)
        assert [one.succeeded for one in results] == [True] * 20 + [False]
        assert len({one.revision for one in results[:20]}) == 20
        assert len(store.list(room)[0]) == 21
        assert txn_many(store, []) == []

    def test_threads_that_count_by_compare_and_swap_lose_nothing(self, store: Store, room: str) -> None:
        watch = store.watch(room, put(store, f"{room}count", b"0"))

        def count() -> None:
            done = 0
            while done < 20:
                seen = store.get(f"{room}count")
                assert seen is not None
                new = Put(seen.key, str(int(seen.value) + 1).encode())
                done += store.txn([Compare(seen.key, seen.mod_revision)], [new]).succeeded

        threads = [threading.Thread(target=count) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [change.value for change in collect(watch, 81)] == [str(n).encode() for n in range(81)]

    # --- watches ---

    def test_a_watch_begins_in_the_past_and_goes_on(self, store: Store, room: str) -> None:
        put(store, f"{room}a", b"before")
        first = put(store, f"{room}a", b"1")
        second = put(store, f"{room}b", b"2")
        watch = store.watch(room, first)
        third = store.txn([], [], [f"{room}a"]).revision
        assert collect(watch, 3) == [
            Change(f"{room}a", b"1", first - 1, first),
            Change(f"{room}b", b"2", second, second),
            Change(f"{room}a", None, 0, third),
        ]

    def test_a_watch_sees_its_prefix_only(self, store: Store, room: str) -> None:
        watch = store.watch(f"{room}in/", put(store, f"{room}out"))
        put(store, f"{room}in/a")
        put(store, f"{room}in0")
        put(store, f"{room}in/b")
        assert [change.key for change in collect(watch, 2)] == [f"{room}in/a", f"{room}in/b"]

    def test_a_revision_is_never_split(self, store: Store, room: str) -> None:
        watch = store.watch(room, put(store, f"{room}first") + 1)
        for _ in range(3):
            store.txn([], [Put(f"{room}{number}", bytes(9000)) for number in range(100)])
        seen = collect(watch, 300)
        assert len(seen) == 300
        assert len({change.revision for change in seen}) == 3

    def test_a_watch_that_nobody_polled_has_missed_nothing(self, store: Store, room: str) -> None:
        begin = put(store, f"{room}n", b"0")
        watches = [store.watch(room, begin), store.watch(room, begin)]
        for number in range(1, 300):
            put(store, f"{room}n", str(number).encode())
        for watch in watches:
            assert [change.value for change in collect(watch, 300)] == [str(n).encode() for n in range(300)]

    def test_a_watch_of_the_future_waits_for_it(self, store: Store, room: str) -> None:
        watch = store.watch(room, put(store, f"{room}a") + 2)
        put(store, f"{room}b")
        assert watch.poll(QUIET_S) is None
        put(store, f"{room}c")
        assert [change.key for change in collect(watch, 1)] == [f"{room}c"]

    def test_polling_without_waiting_returns_at_once(self, store: Store, room: str) -> None:
        watch = store.watch(room, store.list(room)[1] + 1)
        began = time.monotonic()
        assert watch.poll(0) is None
        assert time.monotonic() - began < 1.0

    def test_a_poll_that_waits_is_woken_by_a_write(self, store: Store, room: str) -> None:
        watch = store.watch(room, store.list(room)[1] + 1)
        writer = threading.Timer(0.05, put, (store, f"{room}a"))
        writer.start()
        assert [change.key for change in next_batch(watch).changes] == [f"{room}a"]
        writer.join()

    # --- compaction ---

    def test_a_watch_of_what_is_compacted_lists_anew_and_goes_on(self, store: Store, room: str) -> None:
        begin = put(store, f"{room}a", b"1")
        put(store, f"{room}gone", b"1")
        store.txn([], [], [f"{room}gone"])
        last = put(store, f"{room}a", b"2")
        store.compact(last)
        watch = store.watch(room, begin)
        assert next_batch(watch) == WatchBatch([Change(f"{room}a", b"2", begin, last)], last, reset=True)
        put(store, f"{room}b")
        assert [change.key for change in collect(watch, 1)] == [f"{room}b"]

    def test_the_revision_of_a_compaction_is_still_there(self, store: Store, room: str) -> None:
        put(store, f"{room}a", b"1")
        kept = store.txn([], [], [f"{room}a"]).revision
        put(store, f"{room}a", b"2")
        store.compact(kept)
        assert [change.value for change in collect(store.watch(room, kept), 2)] == [None, b"2"]
        assert next_batch(store.watch(room, kept - 1)).reset

    def test_a_compaction_takes_nothing_that_stands(self, store: Store, room: str) -> None:
        put(store, f"{room}a", b"1")
        for number in range(20):
            put(store, f"{room}b", str(number).encode())
        for revision in (store.list(room)[1], store.list(room)[1] - 5, 1, 10**9):
            store.compact(revision)
        assert [item.value for item in store.list(room)[0]] == [b"1", b"19"]
        put(store, f"{room}a", b"2")
        item = store.get(f"{room}a")
        assert item is not None
        assert item.value == b"2"

    def test_a_watch_that_has_seen_everything_is_not_reset(self, store: Store, room: str) -> None:
        revision = put(store, f"{room}a")
        watch = store.watch(room, revision)
        collect(watch, 1)
        store.compact(revision)
        put(store, f"{room}b")
        assert [change.key for change in collect(watch, 1)] == [f"{room}b"]

    # --- leases ---

    def test_a_lease_that_ends_takes_its_keys(self, store: Store, room: str) -> None:
        lease = store.grant_lease(self.lease_ttl_s)
        put(store, f"{room}kept")
        bound = put(store, f"{room}bound", lease=lease)
        watch = store.watch(room, bound + 1)
        self.pass_time(self.lease_ttl_s)
        wait_until(lambda: store.get(f"{room}bound") is None, "the end of the lease")
        assert [(change.key, change.value) for change in collect(watch, 1)] == [(f"{room}bound", None)]
        assert [item.key for item in store.list(room)[0]] == [f"{room}kept"]
        with pytest.raises(LeaseExpired):
            store.keep_alive(lease)

    def test_a_lease_that_is_kept_alive_lasts(self, store: Store, room: str) -> None:
        lease = store.grant_lease(self.lease_ttl_s)
        put(store, f"{room}bound", lease=lease)
        for _ in range(4):
            self.pass_time(self.lease_ttl_s * 0.4)
            store.keep_alive(lease)
        assert store.get(f"{room}bound") is not None
        store.revoke_lease(lease)

    def test_revoking_deletes_all_keys_in_one_revision(self, store: Store, room: str) -> None:
        lease = store.grant_lease(60)
        bound = [put(store, f"{room}{name}", lease=lease) for name in "abc"]
        put(store, f"{room}b")
        watch = store.watch(room, bound[-1] + 2)
        store.revoke_lease(lease)
        store.revoke_lease(lease)
        assert sorted(change.key for change in next_batch(watch).changes) == [f"{room}a", f"{room}c"]
        assert [item.key for item in store.list(room)[0]] == [f"{room}b"], "a key that was written anew is its own"

    def test_a_lease_that_is_gone_takes_no_key(self, store: Store, room: str) -> None:
        lease = store.grant_lease(60)
        store.revoke_lease(lease)
        with pytest.raises(LeaseExpired):
            store.txn([], [Put(f"{room}a", b""), Put(f"{room}b", b"", lease)])
        assert store.list(room)[0] == []
        assert not store.txn([Compare(f"{room}a", 1)], [Put(f"{room}b", b"", lease)]).succeeded

    # --- the end ---

    def test_a_closed_watch_ends_its_poll(self, store: Store, room: str) -> None:
        watch = store.watch(room, store.list(room)[1] + 1)
        closer = threading.Timer(0.05, watch.close)
        closer.start()
        began = time.monotonic()
        assert watch.poll(PATIENCE_S) is None
        assert time.monotonic() - began < PATIENCE_S / 2
        closer.join()
        with pytest.raises(StoreError):
            watch.poll(0)

    def test_a_closed_store_answers_with_an_error_and_ends_its_watches(self, store: Store, room: str) -> None:
        watch = store.watch(room, store.list(room)[1] + 1)
        closer = threading.Timer(0.05, store.close)
        closer.start()
        assert watch.poll(PATIENCE_S) is None
        closer.join()
        store.close()
        calls: list[Callable[[], object]] = [
            lambda: store.get(f"{room}a"),
            lambda: store.list(room),
            lambda: put(store, f"{room}a"),
            lambda: store.grant_lease(60),
            lambda: watch.poll(0),
        ]
        for call in calls:
            with pytest.raises(StoreError):
                call()
