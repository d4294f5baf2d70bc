"""The stores against a model of nothing but dicts: whatever is done to them in whatever order, they agree with it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from newbon_core.store.base import Change, Compare, KeyValue, LeaseExpired, Put, TxnResult, Watch
from newbon_core.store.sqlite import SqliteStore
from newbon_core.testing.memory_store import MemoryStore

ROOM = "/n/"
NAMES = ["/n/a", "/n/a/b", "/n/b", "/n/ü", "/o/a"]
keys = st.sampled_from(NAMES)
lease_numbers = st.integers(0, 3)


@dataclass
class Model:
    """etcd's semantics, said as simply as possible."""

    revision: int = 1
    compacted: int = 1
    items: dict[str, KeyValue] = field(default_factory=dict)
    history: list[Change] = field(default_factory=list)
    leases: dict[int, float] = field(default_factory=dict)
    lease_of: dict[str, int] = field(default_factory=dict)

    def txn(self, compares: list[Compare], puts: list[Put], deletes: list[str]) -> TxnResult:
        for compare in compares:
            present = self.items.get(compare.key)
            if compare.mod_revision != (present.mod_revision if present else 0):
                return TxnResult(False, self.revision)
        deletes = [key for key in deletes if key in self.items]
        if puts or deletes:
            self.revision += 1
        for put in puts:
            created = self.items[put.key].create_revision if put.key in self.items else self.revision
            self.items[put.key] = KeyValue(put.key, put.value, created, self.revision)
            self.lease_of[put.key] = put.lease
            self.history.append(Change(put.key, put.value, created, self.revision))
        for key in deletes:
            del self.items[key]
            del self.lease_of[key]
            self.history.append(Change(key, None, 0, self.revision))
        return TxnResult(True, self.revision)

    def end_lease(self, lease: int) -> None:
        if lease in self.leases:
            del self.leases[lease]
            self.txn([], [], sorted(key for key, bound in self.lease_of.items() if bound == lease))

    def below(self, prefix: str) -> list[KeyValue]:
        return [self.items[key] for key in sorted(self.items) if key.startswith(prefix)]


@dataclass
class Follower:
    """A watch, the revision from which it has to tell, and what its follower believes to be there."""

    watch: Watch
    next: int
    believed: dict[str, bytes] = field(default_factory=dict)
    knows_all: bool = True


class StoreMachine(RuleBasedStateMachine):
    """Does the same to a store and to the model. ``store`` and ``reopen`` come from the subclass."""

    store: MemoryStore | SqliteStore

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.model = Model()
        self.numbers: list[int] = []
        self.ttl: dict[int, float] = {}
        self.followers: list[Follower] = []

    @initialize()
    def follow_from_the_start(self) -> None:
        self.followers.append(Follower(self.store.watch(ROOM, 1), 1))

    def lease(self, chosen: int) -> int:
        return self.numbers[chosen - 1] if 0 < chosen <= len(self.numbers) else 0

    @rule(
        written=st.dictionaries(keys, st.tuples(st.binary(max_size=3), lease_numbers), max_size=3),
        deleted=st.sets(keys, max_size=2),
        compared=st.dictionaries(keys, st.booleans(), max_size=3),
    )
    def transact(self, written: dict[str, tuple[bytes, int]], deleted: set[str], compared: dict[str, bool]) -> None:
        compares = []
        for key, right in compared.items():
            present = self.model.items.get(key)
            compares.append(Compare(key, (present.mod_revision if present else 0) + (0 if right else 1)))
        puts = [Put(key, value, self.lease(lease)) for key, (value, lease) in written.items()]
        deletes = sorted(deleted - written.keys())
        refused = not all(compared.values())
        if not refused and any(put.lease and put.lease not in self.model.leases for put in puts):
            with pytest.raises(LeaseExpired):
                self.store.txn(compares, puts, deletes)
            return
        assert self.store.txn(compares, puts, deletes) == self.model.txn(compares, puts, deletes)

    @rule(ttl_s=st.sampled_from([1.0, 5.0]))
    def grant(self, ttl_s: float) -> None:
        if len(self.numbers) < 3:
            number = self.store.grant_lease(ttl_s)
            assert number not in self.numbers
            self.numbers.append(number)
            self.model.leases[number] = self.now + ttl_s
            self.ttl[number] = ttl_s

    @rule(chosen=lease_numbers)
    def keep_alive(self, chosen: int) -> None:
        number = self.lease(chosen)
        if number in self.model.leases:
            self.store.keep_alive(number)
            self.model.leases[number] = self.now + self.ttl[number]
        elif number:
            with pytest.raises(LeaseExpired):
                self.store.keep_alive(number)

    @rule(chosen=lease_numbers)
    def revoke(self, chosen: int) -> None:
        if self.lease(chosen):
            self.store.revoke_lease(self.lease(chosen))
            self.model.end_lease(self.lease(chosen))

    @rule(seconds=st.sampled_from([0.5, 2.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for deadline, number in sorted((deadline, number) for number, deadline in self.model.leases.items()):
            if deadline <= self.now:
                self.model.end_lease(number)
        # Any operation that writes ends what is due.
        self.store.revoke_lease(0)

    @rule(back=st.integers(-1, 5))
    def compact(self, back: int) -> None:
        self.store.compact(self.model.revision - back)
        self.model.compacted = max(self.model.compacted, min(self.model.revision, self.model.revision - back))

    @rule(back=st.integers(-2, 8))
    def follow(self, back: int) -> None:
        if len(self.followers) < 4:
            begin = max(1, self.model.revision - back)
            believed = {}
            for change in self.model.history:
                if change.revision < begin and change.key.startswith(ROOM):
                    self.believe(believed, change)
            watch = self.store.watch(ROOM, begin)
            self.followers.append(Follower(watch, begin, believed, knows_all=begin <= self.model.revision + 1))

    @staticmethod
    def believe(believed: dict[str, bytes], change: Change) -> None:
        if change.value is None:
            believed.pop(change.key, None)
        else:
            believed[change.key] = change.value

    @rule(chosen=st.integers(0, 3))
    def poll(self, chosen: int) -> None:
        if chosen < len(self.followers):
            self.take(self.followers[chosen])

    def take(self, follower: Follower) -> None:
        due = [one for one in self.model.history if one.revision >= follower.next and one.key.startswith(ROOM)]
        seen: list[Change] = []
        reset = False
        while (batch := follower.watch.poll(0)) is not None:
            if batch.reset:
                assert follower.next < self.model.compacted
                follower.believed.clear()
                follower.knows_all = reset = True
            seen += batch.changes
            follower.next = batch.revision + 1
            for change in batch.changes:
                self.believe(follower.believed, change)
        if not reset:
            assert seen == due
        if follower.knows_all:
            assert follower.believed == {item.key: item.value for item in self.model.below(ROOM)}

    @invariant()
    def agrees(self) -> None:
        assert self.store.list(ROOM) == (self.model.below(ROOM), self.model.revision)
        assert [self.store.get(key) for key in NAMES] == [self.model.items.get(key) for key in NAMES]

    def teardown(self) -> None:
        for follower in self.followers:
            self.take(follower)
        self.store.close()


class MemoryMachine(StoreMachine):
    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore(clock=lambda: self.now)


class SqliteMachine(StoreMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="newbon-store-")
        self.store = self.opened()

    def opened(self) -> SqliteStore:
        return SqliteStore(Path(self.folder.name) / "newbon.db", clock=lambda: self.now)

    @rule()
    def open_again(self) -> None:
        for follower in self.followers:
            self.take(follower)
        self.store.close()
        self.store = self.opened()
        self.model.leases = {number: self.now + self.ttl[number] for number in self.model.leases}
        for follower in self.followers:
            follower.watch = self.store.watch(ROOM, follower.next)

    def teardown(self) -> None:
        super().teardown()
        self.folder.cleanup()


TestMemoryStore = MemoryMachine.TestCase
TestMemoryStore.settings = settings(max_examples=80, stateful_step_count=25, deadline=None)
TestSqliteStore = SqliteMachine.TestCase
TestSqliteStore.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
