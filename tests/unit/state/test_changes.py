"""Committing: units on their own merits, large sets all or nothing, wherever it is interrupted."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newbon_core.model import ContainerSpec, Event, Service
from newbon_core.state.cache import Stored
from newbon_core.state.changes import (
    JOURNAL,
    Changes,
    commit_atomic,
    commit_units,
    finish_journals,
    unfinished_journals,
)
from newbon_core.store.base import Compare, Put, StoreUnavailable, TransactionTooLarge
from newbon_core.testing.builders import make_service, store_objects
from newbon_core.testing.memory_store import MemoryStore
from newbon_core.testing.simulator_world import Crash, FaultyStore

EVENT = Event(time=1.0, level="info", reason="Tested", kind="Service", name="web", message="it was tested")


def services(store: MemoryStore | FaultyStore) -> dict[str, int]:
    return {item.key.rpartition("/")[2]: item.mod_revision for item in store.list("/newbon/services/")[0]}


def small(room: int = 128, size: int = 1_000_000) -> MemoryStore:
    store = MemoryStore(max_txn_ops=room)
    store.max_value_bytes = size
    return store


def create(*names: str, size: int = 0) -> Changes:
    changes = Changes()
    for name in names:
        changes.create(make_service(name, container=ContainerSpec(image="x" * size or "app")))
    return changes


class TestUnits:
    def test_units_share_transactions(self) -> None:
        store = MemoryStore()
        before = store.revision
        result = commit_units(store, [create(f"s{n}") for n in range(100)])
        assert result.all
        assert result.written == result.revision == before + 1

    def test_a_refused_unit_does_not_hold_up_the_others(self) -> None:
        store = MemoryStore()
        store_objects(store, [make_service("s7"), make_service("s31")])
        result = commit_units(store, [create(f"s{n}") for n in range(50)])
        assert [n for n, done in enumerate(result.committed) if not done] == [7, 31]
        assert len(services(store)) == 50

    def test_a_unit_is_written_whole_or_not_at_all(self) -> None:
        store = MemoryStore()
        store_objects(store, [make_service("b")])
        assert commit_units(store, [create("a", "b")]).committed == (False,)
        assert set(services(store)) == {"b"}

    def test_two_units_about_the_same_key_are_taken_one_after_the_other(self) -> None:
        store = MemoryStore()
        assert commit_units(store, [create("a"), create("a")]).committed == (True, False)

    def test_a_unit_that_requires_what_another_writes_sees_it_written(self) -> None:
        store = MemoryStore()
        needs_absence = create("b")
        needs_absence.require(Service, "a", None)
        assert commit_units(store, [create("a"), needs_absence]).committed == (True, False)

    def test_a_guard_that_many_units_share_costs_one_compare(self) -> None:
        store = small(16)
        store_objects(store, [make_service("guard")])
        seen = services(store)["guard"]
        units = [create(f"s{n}") for n in range(14)]
        for unit in units:
            unit.require(Service, "guard", Stored(make_service("guard"), seen))
        assert commit_units(store, units).written == seen + 1

    def test_few_operations_of_many_bytes_are_divided(self) -> None:
        store = small(size=10_000)
        assert commit_units(store, [create(f"s{n}", size=4000) for n in range(5)]).all
        with pytest.raises(TransactionTooLarge):
            commit_units(store, [create("huge", size=20_000)])

    def test_a_fence_that_fell_refuses_everything(self) -> None:
        store = MemoryStore()
        result = commit_units(store, [create("a"), create("b")], fence=[Compare("/newbon/leader", 7)])
        assert result.committed == (False, False)
        assert not services(store)

    def test_events_are_written_with_their_unit_in_one_batch(self) -> None:
        store = MemoryStore()
        units = [create("a"), create("b")]
        for unit in units:
            unit.events.append(EVENT)
        ids = itertools.count()
        commit_units(store, units, new_id=lambda: f"id{next(ids)}")
        batches, _ = store.list("/newbon/events/")
        assert [item.key for item in batches] == ["/newbon/events/000000000001000000-id0"]

    def test_nothing_is_nothing(self) -> None:
        store = MemoryStore()
        assert commit_units(store, []).committed == ()
        assert not Changes()
        assert not store.list("/")[0]

    @given(st.lists(st.lists(st.integers(0, 8), min_size=1, max_size=4, unique=True), max_size=12), st.integers(4, 8))
    def test_any_units_end_as_if_taken_one_by_one_in_some_order(self, units: list[list[int]], room: int) -> None:
        store = small(room)
        result = commit_units(store, [create(*(f"s{n}" for n in names)) for names in units])
        done = [names for names, committed in zip(units, result.committed, strict=True) if committed]
        refused = [names for names, committed in zip(units, result.committed, strict=True) if not committed]
        written = [n for names in done for n in names]
        assert len(written) == len(set(written)), "two units created the same"
        assert set(services(store)) == {f"s{n}" for n in written}
        assert all(set(names) & set(written) for names in refused), "a unit was refused for nothing"


LARGE = [f"s{n:03d}" for n in range(300)]


class TestAtomic:
    def test_a_small_set_is_one_transaction(self) -> None:
        store = MemoryStore()
        before = store.revision
        assert commit_atomic(store, create("a", "b")).revision == before + 1

    def test_a_large_set_leaves_no_journal(self) -> None:
        store = MemoryStore()
        assert commit_atomic(store, create(*LARGE)).succeeded
        assert sorted(services(store)) == LARGE
        assert not store.list(JOURNAL)[0]

    @pytest.mark.parametrize("count", [3, 300])
    def test_one_conflict_refuses_all(self, count: int) -> None:
        store = MemoryStore()
        store_objects(store, [make_service(LARGE[2])])
        assert not commit_atomic(store, create(*LARGE[:count])).succeeded
        assert len(services(store)) == 1
        assert not store.list(JOURNAL)[0]

    def test_an_object_that_was_deleted_meanwhile_refuses_all(self) -> None:
        store = MemoryStore()
        changes = create(*LARGE)
        changes.update(make_service("was-there"), Stored(make_service("was-there"), 5))
        assert not commit_atomic(store, changes).succeeded
        assert not services(store)

    def test_large_values_are_divided(self) -> None:
        store = small(size=600_000)
        assert commit_atomic(store, create(*LARGE, size=10_000)).succeeded
        assert len(services(store)) == 300

    def test_one_that_no_store_could_take_leaves_nothing_behind(self) -> None:
        store = small(size=600_000)
        changes = create(*LARGE)
        changes.create(make_service("huge", container=ContainerSpec(image="x" * 700_000)))
        with pytest.raises(TransactionTooLarge):
            commit_atomic(store, changes)
        assert not store.list("/")[0]

    @pytest.mark.parametrize("moment", ["crash-before", "crash-after"])
    def test_a_crash_at_any_transaction_leaves_all_or_nothing(self, moment: str) -> None:
        seen: set[int] = set()
        for passing in range(20):
            store = FaultyStore(MemoryStore())
            store_objects(store, [make_service("old")])
            changes = create(*LARGE)
            changes.delete(Service, "old", Stored(make_service("old"), services(store)["old"]))
            store.trap = (passing, moment)
            try:
                commit_atomic(store, changes)
            except Crash:
                finish_journals(store)
            else:
                assert store.trap is not None, "every transaction had its crash"
                break
            assert not store.list(JOURNAL)[0]
            left = services(store)
            assert sorted(left) in (["old"], LARGE)
            seen.add(len(left))
        else:
            raise AssertionError("the commit never came through")
        assert seen == {1, 300}

    def test_finishing_a_journal_never_undoes_a_later_change(self) -> None:
        store = FaultyStore(MemoryStore())
        # Three to see whether all compares hold, one for the journal, and then the first piece.
        store.trap = (4, "crash-after")
        with pytest.raises(Crash):
            commit_atomic(store, create(*LARGE))
        name = next(iter(services(store)), None)
        assert name is not None, "the first piece was written"
        newer = make_service(name, replicas=77)
        store.txn([], [Put(f"/newbon/services/{name}", b'{"newer":1}')])
        finish_journals(store)
        kept = store.get(f"/newbon/services/{newer.name}")
        assert kept is not None
        assert kept.value == b'{"newer":1}'
        assert len(services(store)) == 300

    def test_what_an_outage_left_half_done_is_finished_by_name(self) -> None:
        store = FaultyStore(MemoryStore())
        store.trap = (5, "fail-before")
        with pytest.raises(StoreUnavailable):
            commit_atomic(store, create(*LARGE))
        assert 0 < len(services(store)) < 300
        (name,) = unfinished_journals(store)
        assert finish_journals(store, ()) == 0
        assert finish_journals(store, {name, "gone-meanwhile"}) == 1
        assert sorted(services(store)) == LARGE
        assert not unfinished_journals(store)
