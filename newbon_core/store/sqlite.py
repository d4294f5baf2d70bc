"""The embedded store: SQLite with a write-ahead log, every acknowledged transaction on disk.

One thread writes. It takes whatever transactions wait, carries them out in turn inside one SQLite transaction, and
acknowledges them after its COMMIT, so that many writers share one fsync (group commit). Watches are fed in the process.
"""

from __future__ import annotations

import fcntl
import os
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from newbon_core.store.base import (
    Change,
    Compare,
    KeyValue,
    LeaseExpired,
    Put,
    StoreError,
    StoreUnavailable,
    TransactionTooLarge,
    TxnResult,
    WatchBatch,
)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS kv (
  key TEXT PRIMARY KEY, value BLOB NOT NULL, created INTEGER NOT NULL, modified INTEGER NOT NULL,
  lease INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS kv_lease ON kv (lease) WHERE lease != 0;
CREATE TABLE IF NOT EXISTS history (
  revision INTEGER NOT NULL, position INTEGER NOT NULL, key TEXT NOT NULL, value BLOB, created INTEGER NOT NULL,
  PRIMARY KEY (revision, position)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lease (id INTEGER PRIMARY KEY, ttl REAL NOT NULL);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT OR IGNORE INTO meta VALUES ('revision', 0), ('compacted', 0), ('lease', 0);
"""
_GROUP = 256
_KEEP_REVISIONS = 100_000
_RECENT_REVISIONS = 10_000
_HIGHEST = chr(0x10FFFF)

# Inside SqliteStore the name ``list`` is a method, so annotations there need these.
_Changes = list[Change]
_Items = list[KeyValue]
_Jobs = list["_Job"]


@dataclass(slots=True)
class _Job:
    """Something for the writing thread: ``run`` inside its transaction, ``done`` after the COMMIT."""

    run: Callable[[sqlite3.Connection], object]
    done: Future[object]


class SqliteStore:
    """See the module's docstring. ``path`` is created with mode 0600; a second process is refused.

    ``clock`` gives seconds that only go forward; leases run by it and begin anew when the store is opened.
    Raises StoreUnavailable when the file cannot be opened or another process has it.
    """

    max_txn_ops = 10_000
    max_value_bytes = 64 << 20

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._path = path
        self._lock_file = _claim(path)
        try:
            self._writer = _connect(path)
            self._writer.executescript(_SCHEMA)
            self._reader = _connect(path)
        except sqlite3.Error as error:
            self._lock_file.close()
            raise StoreUnavailable(f"{path}: {error}") from error
        self._read_lock = threading.Lock()
        meta = dict(self._writer.execute("SELECT name, value FROM meta"))
        self._revision: int = meta["revision"]
        self._compacted: int = meta["compacted"]
        self._deadlines = {row[0]: (row[1], clock() + row[1]) for row in self._writer.execute("SELECT * FROM lease")}
        self._recent: deque[tuple[int, tuple[Change, ...]]] = deque(maxlen=_RECENT_REVISIONS)
        self._committed = threading.Condition()
        self._published = self._revision
        self._uncommitted: deque[tuple[int, tuple[Change, ...]]] = deque()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._write_jobs, name="store-writer", daemon=True)
        self._thread.start()

    # --- reading ---

    def get(self, key: str) -> KeyValue | None:
        with self._read_lock:
            try:
                query = "SELECT key, value, created, modified FROM kv WHERE key = ?"
                row = self._reader.execute(query, (key,)).fetchone()
            except sqlite3.Error as error:
                raise self._unavailable(error) from error
        return KeyValue(*row) if row is not None else None

    def list(self, prefix: str) -> tuple[_Items, int]:
        with self._read_lock:
            try:
                self._reader.execute("BEGIN")
                revision: int = self._reader.execute("SELECT value FROM meta WHERE name = 'revision'").fetchone()[0]
                query = "SELECT key, value, created, modified FROM kv WHERE key >= ? AND key < ? ORDER BY key"
                rows = self._reader.execute(query, (prefix, prefix + _HIGHEST)).fetchall()
                self._reader.execute("COMMIT")
            except sqlite3.Error as error:
                raise self._unavailable(error) from error
        return [KeyValue(*row) for row in rows], revision

    def _unavailable(self, error: sqlite3.Error) -> StoreUnavailable:
        return StoreUnavailable(f"{self._path}: {error}")

    # --- writing ---

    def txn(self, compares: Sequence[Compare], puts: Sequence[Put], deletes: Sequence[str] = ()) -> TxnResult:
        operations, size = len(puts) + len(deletes), sum(len(put.value) for put in puts)
        if max(operations, len(compares)) > self.max_txn_ops or size > self.max_value_bytes:
            raise TransactionTooLarge(f"{operations} operations, {len(compares)} compares, {size} bytes")
        result = self._submit(lambda db: self._carry_out(db, compares, puts, deletes))
        assert isinstance(result, TxnResult)
        return result

    def grant_lease(self, ttl_s: float) -> int:
        def grant(db: sqlite3.Connection) -> int:
            db.execute("UPDATE meta SET value = value + 1 WHERE name = 'lease'")
            lease: int = db.execute("SELECT value FROM meta WHERE name = 'lease'").fetchone()[0]
            db.execute("INSERT INTO lease VALUES (?, ?)", (lease, ttl_s))
            self._deadlines[lease] = (ttl_s, self._clock() + ttl_s)
            return lease

        lease = self._submit(grant)
        assert isinstance(lease, int)
        return lease

    def keep_alive(self, lease: int) -> None:
        def renew(_: sqlite3.Connection) -> None:
            if lease not in self._deadlines:
                raise LeaseExpired(f"lease {lease}")
            ttl_s, _deadline = self._deadlines[lease]
            self._deadlines[lease] = (ttl_s, self._clock() + ttl_s)

        self._submit(renew)

    def revoke_lease(self, lease: int) -> None:
        self._submit(lambda db: self._end_lease(db, lease))

    def compact(self, revision: int) -> None:
        self._submit(lambda db: self._forget(db, revision))

    def _submit(self, run: Callable[[sqlite3.Connection], object]) -> object:
        if self._closed:
            raise StoreUnavailable(f"{self._path}: the store is closed")
        job = _Job(run, Future())
        self._jobs.put(job)
        return job.done.result()

    # --- the writing thread ---

    def _write_jobs(self) -> None:
        while True:
            group = self._next_group()
            if group is None:
                return
            self._write_group(group)

    def _next_group(self) -> _Jobs | None:
        """Wait for work; an empty group is a lease whose time is over. None: the store was closed."""
        deadline = min((until for _, until in self._deadlines.values()), default=None)
        try:
            wait_s = None if deadline is None else max(0.0, deadline - self._clock())
            first = self._jobs.get(timeout=wait_s)
        except queue.Empty:
            return []
        group: _Jobs = []
        while first is not None:
            group.append(first)
            if len(group) == _GROUP or self._jobs.empty():
                return group
            first = self._jobs.get()
        for job in group:
            job.done.set_exception(StoreUnavailable(f"{self._path}: the store is closed"))
        return None

    def _write_group(self, group: Sequence[_Job]) -> None:
        outcomes: deque[tuple[Future[object], object, StoreError | None]] = deque()
        revision = self._revision
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            for lease in [one for one, (_, until) in self._deadlines.items() if until <= self._clock()]:
                self._end_lease(self._writer, lease)
            for job in group:
                try:
                    outcomes.append((job.done, job.run(self._writer), None))
                except StoreError as error:
                    outcomes.append((job.done, None, error))
            if self._revision != revision:
                self._writer.execute("UPDATE meta SET value = ? WHERE name = 'revision'", (self._revision,))
            if self._revision - self._compacted > 2 * _KEEP_REVISIONS:
                self._forget(self._writer, self._revision - _KEEP_REVISIONS)
            self._writer.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back(revision)
            for job in group:
                job.done.set_exception(self._unavailable(error))
            return
        self._publish()
        for done, value, refused in outcomes:
            if refused is not None:
                done.set_exception(refused)
            else:
                done.set_result(value)

    def _roll_back(self, revision: int) -> None:
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK")
        self._revision = revision
        self._uncommitted.clear()
        stored = {row[0] for row in self._writer.execute("SELECT id FROM lease")}
        self._deadlines = {lease: kept for lease, kept in self._deadlines.items() if lease in stored}

    def _publish(self) -> None:
        with self._committed:
            self._recent.extend(self._uncommitted)
            self._published = self._revision
            self._committed.notify_all()
        self._uncommitted.clear()

    def _carry_out(
        self, db: sqlite3.Connection, compares: Sequence[Compare], puts: Sequence[Put], deletes: Sequence[str]
    ) -> TxnResult:
        for put in puts:
            if put.lease and put.lease not in self._deadlines:
                raise LeaseExpired(f"lease {put.lease} of {put.key}")
        find = "SELECT created, modified FROM kv WHERE key = ?"
        for compare in compares:
            row = db.execute(find, (compare.key,)).fetchone()
            if (row[1] if row else 0) != compare.mod_revision:
                return TxnResult(False, self._revision)
        present = [(key, row[0]) for key in deletes if (row := db.execute(find, (key,)).fetchone())]
        if not puts and not present:
            return TxnResult(True, self._revision)
        self._revision += 1
        changes = []
        for put in puts:
            row = db.execute(find, (put.key,)).fetchone()
            created = row[0] if row else self._revision
            values = (put.key, put.value, created, self._revision, put.lease)
            db.execute("INSERT OR REPLACE INTO kv VALUES (?, ?, ?, ?, ?)", values)
            changes.append(Change(put.key, put.value, created, self._revision))
        changes += self._delete(db, present)
        self._record(db, changes)
        return TxnResult(True, self._revision)

    def _delete(self, db: sqlite3.Connection, keys: Sequence[tuple[str, int]]) -> _Changes:
        db.executemany("DELETE FROM kv WHERE key = ?", [(key,) for key, _ in keys])
        return [Change(key, None, created, self._revision) for key, created in keys]

    def _record(self, db: sqlite3.Connection, changes: Sequence[Change]) -> None:
        rows = [(self._revision, i, one.key, one.value, one.create_revision) for i, one in enumerate(changes)]
        db.executemany("INSERT INTO history VALUES (?, ?, ?, ?, ?)", rows)
        self._uncommitted.append((self._revision, tuple(changes)))

    def _end_lease(self, db: sqlite3.Connection, lease: int) -> None:
        self._deadlines.pop(lease, None)
        db.execute("DELETE FROM lease WHERE id = ?", (lease,))
        bound = db.execute("SELECT key, created FROM kv WHERE lease = ? ORDER BY key", (lease,)).fetchall()
        if bound:
            self._revision += 1
            self._record(db, self._delete(db, bound))

    def _forget(self, db: sqlite3.Connection, revision: int) -> None:
        revision = min(revision, self._revision)
        if revision > self._compacted:
            db.execute("DELETE FROM history WHERE revision < ?", (revision,))
            db.execute("UPDATE meta SET value = ? WHERE name = 'compacted'", (revision,))
            self._compacted = revision

    # --- watching ---

    def watch(self, prefix: str, from_revision: int) -> SqliteWatch:
        return SqliteWatch(self, prefix, from_revision)

    def wait_beyond(self, revision: int, timeout_s: float, stopped: Callable[[], bool]) -> bool:
        """Block until ``revision`` is committed; False when the time is over or it was stopped."""
        deadline = time.monotonic() + timeout_s
        with self._committed:
            while self._published < revision:
                left = deadline - time.monotonic()
                if left <= 0 or stopped() or self._closed:
                    return False
                self._committed.wait(left)
        return not stopped()

    def wake_watches(self) -> None:
        """Let every waiting ``poll`` look whether it was closed."""
        with self._committed:
            self._committed.notify_all()

    def since(self, revision: int) -> tuple[_Changes, int] | None:
        """Every change from ``revision`` on and how far that goes; None when a part of it is compacted."""
        if revision < self._compacted:
            return None
        with self._committed:
            recent = [*self._recent]
        if recent and recent[0][0] <= revision:
            return [change for at, changes in recent if at >= revision for change in changes], recent[-1][0]
        with self._read_lock:
            try:
                self._reader.execute("BEGIN")
                meta = dict(self._reader.execute("SELECT name, value FROM meta"))
                query = "SELECT key, value, created, revision FROM history WHERE revision >= ?"
                rows = self._reader.execute(f"{query} ORDER BY revision, position", (revision,)).fetchall()
                self._reader.execute("COMMIT")
            except sqlite3.Error as error:
                raise self._unavailable(error) from error
        if revision < meta["compacted"]:
            return None
        return [Change(*row) for row in rows], meta["revision"]

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._jobs.put(None)
        self._thread.join()
        self.wake_watches()
        with self._read_lock:
            self._reader.close()
        self._writer.close()
        self._lock_file.close()


class SqliteWatch:
    """Reads on from where it left off."""

    def __init__(self, store: SqliteStore, prefix: str, from_revision: int) -> None:
        self._store = store
        self._prefix = prefix
        self._next = from_revision
        self._closed = False

    def poll(self, timeout_s: float) -> WatchBatch | None:
        if self._closed:
            raise StoreError("the watch is closed")
        deadline = time.monotonic() + timeout_s
        while self._store.wait_beyond(self._next, deadline - time.monotonic(), lambda: self._closed):
            batch = self._read_on()
            if batch is not None:
                return batch
        return None

    def _read_on(self) -> WatchBatch | None:
        found = self._store.since(self._next)
        if found is None:
            items, revision = self._store.list(self._prefix)
            self._next = revision + 1
            everything = [Change(one.key, one.value, one.create_revision, one.mod_revision) for one in items]
            return WatchBatch(everything, revision, reset=True)
        changes, revision = found
        self._next = max(self._next, revision + 1)
        mine = [change for change in changes if change.key.startswith(self._prefix)]
        return WatchBatch(mine, revision) if mine else None

    def close(self) -> None:
        self._closed = True
        self._store.wake_watches()


def _claim(path: Path) -> IO[str]:
    try:
        descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StoreUnavailable(f"{path}: {error.strerror}") from error
    lock = os.fdopen(descriptor, "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise StoreUnavailable(f"{path}: another process has this store open") from None
    return lock


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection
