"""The embedded store: the suite of every store, one process only, and what it does when its disk fails."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from newbon_core.store import sqlite_file
from newbon_core.store.base import Compare, LeaseExpired, Put, StoreError, StoreUnavailable
from newbon_core.store.sqlite import SqliteStore, StoreInUse
from newbon_core.testing.store_conformance import StoreConformance, collect, next_batch, put


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "newbon.db"


class TestConformance(StoreConformance):
    now = 0.0

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[SqliteStore]:
        self.opened = SqliteStore(tmp_path / "newbon.db", clock=lambda: self.now)
        yield self.opened
        self.opened.close()

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.opened._lease_news.set()


def test_leases_end_by_themselves(path: Path) -> None:
    store = SqliteStore(path)
    put(store, "/bound", lease=store.grant_lease(0.1))
    assert [change.value for change in collect(store.watch("/bound", 1), 2)] == [b"x", None]
    store.close()


def test_everything_is_there_when_it_is_opened_again(path: Path) -> None:
    store = SqliteStore(path)
    first = put(store, "/a", b"1")
    put(store, "/b", b"2")
    last = store.txn([], [], ["/a"]).revision
    store.close()
    again = SqliteStore(path)
    assert [(item.key, item.value) for item in again.list("/")[0]] == [("/b", b"2")]
    assert [change.value for change in collect(again.watch("/", first), 3)] == [b"1", b"2", None]
    assert put(again, "/c") == last + 1
    again.close()


def test_leases_begin_anew_when_it_is_opened_again(path: Path) -> None:
    now = 0.0
    store = SqliteStore(path, clock=lambda: now)
    lease = store.grant_lease(10)
    put(store, "/bound", lease=lease)
    now = 9.0
    store.close()
    again = SqliteStore(path, clock=lambda: now)
    now = 18.0
    again.keep_alive(lease)
    now = 29.0
    put(again, "/other")
    assert again.get("/bound") is None
    with pytest.raises(LeaseExpired):
        again.keep_alive(lease)
    assert again.grant_lease(10) != lease, "a number is never given twice"
    again.close()


def test_files_are_for_the_owner_only(path: Path) -> None:
    path.parent.mkdir()
    path.touch(mode=0o644)
    store = SqliteStore(path)
    put(store, "/a")
    assert {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()} == {
        "newbon.db": 0o600,
        "newbon.db-wal": 0o600,
        "newbon.db-shm": 0o600,
        "newbon.db.lock": 0o600,
    }
    store.close()


def test_a_second_server_is_told_who_has_the_store(path: Path) -> None:
    store = SqliteStore(path)
    with pytest.raises(StoreInUse, match=r"open in another process \(process id \d+\): only one server"):
        SqliteStore(path)
    code = (
        f"from pathlib import Path; from newbon_core.store.sqlite import SqliteStore; SqliteStore(Path({str(path)!r}))"
    )
    second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "StoreInUse" in second.stderr
    store.close()
    SqliteStore(path).close()


@pytest.mark.parametrize("content", [b"this is no database at all, only text\n" * 100, None], ids=["text", "other"])
def test_another_file_is_refused_and_left_alone(path: Path, content: bytes | None) -> None:
    path.parent.mkdir()
    if content is not None:
        path.write_bytes(content)
    else:
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE mine (x)")
        other.close()
    with pytest.raises(StoreError, match=r"not a store|is damaged"):
        SqliteStore(path)
    if content is not None:
        assert path.read_bytes() == content


def test_a_full_disk_is_said_and_nothing_is_half_written(path: Path) -> None:
    store = SqliteStore(path)
    before = put(store, "/a", b"1")
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    watch = store.watch("/", before + 1)
    with pytest.raises(StoreUnavailable, match=r"the disk that holds the store .* is full"):
        store.txn([], [Put("/a", b"2"), Put("/large", bytes(1_000_000))])
    assert [item.value for item in store.list("/")[0]] == [b"1"]
    assert watch.poll(0) is None
    # There is room again: it goes on by itself, at the revision where it was.
    assert put(store, "/a", b"3") == before + 1
    assert [change.value for change in collect(watch, 1)] == [b"3"]
    store.close()


def test_a_read_only_file_is_said(path: Path) -> None:
    store = SqliteStore(path)
    store._db.execute("PRAGMA query_only = 1")
    with pytest.raises(StoreUnavailable, match="is read-only"):
        put(store, "/a")
    put(store, "/a")
    store.close()


def test_a_commit_whose_end_is_unknown_is_settled_by_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The COMMIT reports an error though it reached the disk: the writer is told so, and the watch misses nothing."""
    store = SqliteStore(path)
    begin = put(store, "/a", b"1")
    watch = store.watch("/", begin + 1)

    class Lying:
        def __init__(self, inner: sqlite3.Connection) -> None:
            self.inner = inner

        def execute(self, statement: str, *values: object) -> sqlite3.Cursor:
            cursor = self.inner.execute(statement, *values)
            if statement == "COMMIT":
                raise sqlite3.OperationalError("disk I/O error")
            return cursor

        def __getattr__(self, name: str) -> object:
            return getattr(self.inner, name)

    monkeypatch.setattr(store, "_db", Lying(store._db))
    with pytest.raises(StoreUnavailable):
        put(store, "/a", b"2")
    assert put(store, "/a", b"3") == begin + 2
    assert [change.value for change in collect(watch, 2)] == [b"2", b"3"]
    store.close()


def test_history_is_kept_short_by_itself(path: Path) -> None:
    store = SqliteStore(path, keep_changes=2000)
    put(store, "/kept", b"1")
    for number in range(80):
        store.txn([], [Put(f"/{key}", str(number).encode()) for key in range(100)])
    last = store.list("/")[1]
    watch = store.watch("/", 2)
    batch = next_batch(watch)
    assert batch.reset
    assert len(batch.changes) == 101
    assert len(collect(store.watch("/", last - 19), 2000)) == 2000, "so many changes are kept at least"
    rows = store._db.execute("SELECT count(*) FROM change").fetchone()[0]
    assert rows < 2000 + 2500 + 101
    store.close()
    again = SqliteStore(path, keep_changes=2000)
    again.compact(last)
    assert again._db.execute("SELECT count(*) FROM change").fetchone()[0] == 101, "only what stands"
    again.close()


def test_a_watch_far_behind_reads_the_file_and_then_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("newbon_core.store.sqlite._RECENT_CHANGES", 50)
    monkeypatch.setattr("newbon_core.store.sqlite._PIECE", 30)
    store = SqliteStore(path)
    begin = put(store, "/n", b"0")
    watch, other = store.watch("/n", begin), store.watch("/other", begin)
    for number in range(1, 400):
        store.txn([], [Put("/n", str(number).encode()), Put(f"/m{number}", b"")])
    put(store, "/other", b"1")
    assert [change.value for change in collect(watch, 400)] == [str(n).encode() for n in range(400)]
    assert [change.value for change in collect(other, 1)] == [b"1"]
    store.close()


def test_writers_share_a_commit(path: Path) -> None:
    store = SqliteStore(path)
    statements: list[str] = []
    store._db.set_trace_callback(statements.append)
    store._group.lock.acquire()
    threads = [threading.Thread(target=put, args=(store, f"/{number}")) for number in range(20)]
    for thread in threads:
        thread.start()
    while len(store._group._queue) < 20:
        pass
    store._group.lock.release()
    for thread in threads:
        thread.join()
    assert statements.count("COMMIT") == 1
    assert len({item.mod_revision for item in store.list("/")[0]}) == 20
    store.close()


def test_later_writers_of_a_group_see_what_earlier_ones_wrote(path: Path) -> None:
    store = SqliteStore(path)
    asked = [([Compare("/leader", 0)], [Put("/leader", str(number).encode())], []) for number in range(10)]
    assert [one.succeeded for one in store.txn_many(asked)] == [True] + [False] * 9
    store.close()


def test_a_version_of_the_file_that_is_newer_is_refused(path: Path) -> None:
    SqliteStore(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match="expected format 1, found 99"):
        SqliteStore(path)
    assert sqlite_file.sentence(path, sqlite3.OperationalError("locked")).endswith("does not answer: locked")
