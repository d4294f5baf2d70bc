"""What the etcd store promises while members of a real cluster are killed, stopped, restarted and compacted."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from newbon_core.store.base import Change, Compare, Put, StoreUnavailable
from newbon_core.store.etcd import EtcdStore
from newbon_core.testing.etcd import EtcdCluster
from newbon_core.testing.store_conformance import collect, next_batch, put

T = TypeVar("T")
pytestmark = pytest.mark.etcd

FAST_ELECTIONS = ("--heartbeat-interval", "50", "--election-timeout", "500")


@pytest.fixture
def three(tmp_path: Path) -> Iterator[EtcdCluster]:
    with EtcdCluster(3, tmp_path, FAST_ELECTIONS) as cluster:
        yield cluster


def insist(write: Callable[[], T]) -> T:
    """Repeat a write (one that may be) until it is acknowledged; while a leader is elected it may not be."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return write()
        except StoreUnavailable:
            assert time.monotonic() < deadline, "no write was acknowledged within 30 s"


class Writer(threading.Thread):
    """Writes keys that nobody else writes, one after another, and notes which were acknowledged."""

    def __init__(self, endpoints: tuple[str, ...], name: str) -> None:
        super().__init__()
        self.acknowledged: dict[str, int] = {}
        self.unknown: set[str] = set()
        self.refused: set[str] = set()
        self._store = EtcdStore(endpoints)
        self._room = f"/chaos/{name}/"
        self._ended = threading.Event()

    def run(self) -> None:
        number = 0
        while not self._ended.is_set():
            number += 1
            key = f"{self._room}{number:06d}"
            try:
                result = self._store.txn([Compare(key, 0)], [Put(key, b"v"), Put(f"{self._room}last", key.encode())])
            except StoreUnavailable as error:
                if "may or may not" in str(error):
                    self.unknown.add(key)
                continue
            if result.succeeded:
                self.acknowledged[key] = result.revision
            else:
                self.refused.add(key)

    def end(self) -> None:
        self._ended.set()
        self.join()
        self._store.close()


class Reader(threading.Thread):
    """Collects all that a watch tells."""

    def __init__(self, store: EtcdStore, from_revision: int) -> None:
        super().__init__()
        self.changes: list[Change] = []
        self.resets = 0
        self.revision = 0
        self._watch = store.watch("/chaos/", from_revision)
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.is_set():
            batch = self._watch.poll(0.2)
            if batch is not None:
                self.changes += batch.changes
                self.resets += batch.reset
                self.revision = batch.revision

    def end(self, revision: int) -> None:
        deadline = time.monotonic() + 20
        while self.revision < revision and time.monotonic() < deadline:
            time.sleep(0.05)
        self._ended.set()
        self.join()


def test_members_are_killed_one_after_another(three: EtcdCluster) -> None:
    """No acknowledged write is lost, and a watch tells of every one once and in order."""
    store = EtcdStore(three.endpoints)
    begin = store.list("/chaos/")[1] + 1
    readers = [Reader(store, begin), Reader(EtcdStore(three.endpoints[2:]), begin)]
    # Each writer begins at another member, so whichever is killed was in use.
    writers = [Writer(three.endpoints[n:] + three.endpoints[:n], f"w{n}") for n in range(3)]
    for thread in (*readers, *writers):
        thread.start()
    for member in (0, 1, 2, 0):
        time.sleep(1.0)
        three.kill(member)
        time.sleep(1.0)
        three.start(member)
    time.sleep(0.5)
    for writer in writers:
        writer.end()
    items, revision = store.list("/chaos/")
    for reader in readers:
        reader.end(revision)
    stored = {item.key: item.mod_revision for item in items if not item.key.endswith("last")}
    acknowledged = {key: at for writer in writers for key, at in writer.acknowledged.items()}
    assert len(acknowledged) > 100
    assert all(len(writer.acknowledged) > 20 for writer in writers)
    assert acknowledged.items() <= stored.items(), "an acknowledged write is lost"
    assert not any(writer.refused for writer in writers), "a write was carried out twice"
    assert stored.keys() - acknowledged.keys() <= {key for writer in writers for key in writer.unknown}
    for reader in readers:
        told = [(change.key, change.revision) for change in reader.changes if not change.key.endswith("last")]
        assert reader.resets == 0
        assert told == sorted(stored.items(), key=lambda item: item[1]), "a change was missed, repeated or out of order"
        assert len(reader.changes) == 2 * len(told)
    store.close()


def test_a_watch_resumes_when_the_only_member_comes_back(tmp_path: Path) -> None:
    with EtcdCluster(1, tmp_path) as cluster:
        store = EtcdStore(cluster.endpoints)
        watch = store.watch("/", put(store, "/a", b"1"))
        collect(watch, 1)
        for value in (b"2", b"3"):
            cluster.kill()
            assert watch.poll(0.2) is None
            cluster.start()
            put(store, "/a", value)
            assert [change.value for change in collect(watch, 1)] == [value]
        store.close()


def test_compaction_while_the_watch_was_cut_off_lists_anew(three: EtcdCluster) -> None:
    lonely, other = EtcdStore(three.endpoints[:1]), EtcdStore(three.endpoints[1:])
    put(other, "/kept", b"1")
    begin = put(other, "/gone", b"1")
    watch = lonely.watch("/", begin)
    collect(watch, 1)
    three.kill(0)
    insist(lambda: other.txn([], [], ["/gone"]))
    last = insist(lambda: put(other, "/new", b"2"))
    insist(lambda: other.compact(last))
    three.start(0)
    batch = next_batch(watch)
    assert batch.reset
    assert {change.key: change.value for change in batch.changes} == {"/kept": b"1", "/new": b"2"}
    assert batch.revision >= last
    put(other, "/new", b"3")
    assert [change.value for change in collect(watch, 1)] == [b"3"]
    lonely.close()
    other.close()


def test_a_member_that_hangs_is_left_for_another(three: EtcdCluster) -> None:
    """Its connections stay open and silent: only a missing sign of life tells."""
    store, other = EtcdStore(three.endpoints), EtcdStore(three.endpoints[1:])
    watch = store.watch("/", put(store, "/a", b"1"))
    collect(watch, 1)
    process = three.process_id(0)
    assert process is not None
    os.kill(process, signal.SIGSTOP)
    try:
        insist(lambda: put(other, "/a", b"2"))
        began = time.monotonic()
        item = store.get("/a")
        assert item is not None
        assert item.value == b"2"
        assert time.monotonic() - began < 7, "a read goes to another member"
        batch = watch.poll(15)
        assert batch is not None
        assert batch.changes[-1].value == b"2"
        insist(lambda: put(store, "/a", b"3"))
    finally:
        os.kill(process, signal.SIGCONT)
    while collect(watch, 1)[-1].value != b"3":
        pass
    store.close()
    other.close()


def test_a_member_that_is_cut_off_from_the_others_ends_its_watches(three: EtcdCluster) -> None:
    """With both others gone there is no leader: writes say so, and all goes on when one is back."""
    store = EtcdStore(three.endpoints, timeout_s=3.0)
    watch = store.watch("/", put(store, "/a", b"1"))
    collect(watch, 1)
    three.kill(1)
    three.kill(2)
    with pytest.raises(StoreUnavailable):
        put(store, "/a", b"2")
    three.start(1, wait=False)
    three.start(2)
    insist(lambda: put(store, "/a", b"3"))
    while collect(watch, 1)[-1].value != b"3":
        pass
    store.close()
