"""The embedded store: SQLite with a write-ahead log, every acknowledged transaction on disk.

Writers queue, and whichever of them comes first carries out all that wait inside one SQLite transaction; each is
acknowledged after its COMMIT, so many share one fsync (group commit). Watches are fed in the process, without reading
the file again.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from newbon_core.store import sqlite_file as file
from newbon_core.store.base import (
    Change,
    Compacted,
    Compare,
    KeyValue,
    LeaseExpired,
    Put,
    StoreError,
    StoreUnavailable,
    TxnResult,
)
from newbon_core.store.feed import ChangeLog, LogWatch
from newbon_core.store.group_commit import GroupCommit, Job
from newbon_core.store.limits import check_txn
from newbon_core.store.pipelined import TxnRequest
from newbon_core.store.sqlite_file import StoreInUse

__all__ = ["SqliteStore", "StoreInUse"]

_RECENT_CHANGES = 8192
_RECENT_BYTES = 32_000_000
_PIECE = 2000
_MARK = 1000

# Inside the class the name ``list`` is a method.
_Items = list[KeyValue]
_Changes = list[Change]


@dataclass(slots=True)
class _Lease:
    ttl_s: float
    deadline: float


class SqliteStore:
    """See ``newbon_core.store.base.Store``. One process at a time may have the file open; it is made with mode 0600.

    ``keep_changes``: how many changes of the past are kept for watches at least; older ones are compacted by and by.
    ``clock`` gives seconds that only go forward; leases run by it, and begin anew when the store is opened.
    Raises StoreInUse, StoreUnavailable, and StoreError where the file is something else.
    """

    max_txn_ops = 10_000
    max_value_bytes = 64_000_000

    def __init__(self, path: Path, *, keep_changes: int = 100_000, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._keep = keep_changes
        self._clock = clock
        self._lock_file = file.claim(path)
        self._group = GroupCommit(self._commit)
        self._fresh: _Changes = []
        self._leases: dict[int, _Lease] = {}
        self._marks: deque[tuple[int, int]] = deque()
        self._readers: deque[sqlite3.Connection] = deque()
        self._lease_thread: threading.Thread | None = None
        self._lease_news = threading.Event()
        self._closed = False
        try:
            with self._told():
                self._db = file.connect(path)
                meta = file.read_meta(self._db)
                self._log = ChangeLog(meta["revision"], _RECENT_CHANGES, _RECENT_BYTES)
                self._total = 0
                self._load(meta)
        except StoreError:
            self._lock_file.close()
            raise
        self._stale = False

    def _load(self, meta: dict[str, int]) -> None:
        """Take over what the file says: at the start, and after a failure that left open what was written."""
        self._revision, self._compacted, self._swept = meta["revision"], meta["compacted"], meta["swept"]
        now = self._clock()
        before = self._leases
        rows = self._db.execute("SELECT id, ttl_s FROM lease")
        self._leases = {number: before.get(number) or _Lease(ttl_s, now + ttl_s) for number, ttl_s in rows}
        if self._leases:
            self._watch_leases()
        ids = [row[0] for row in self._db.execute("SELECT id FROM change WHERE id >= ?", (self._compacted << 20,))]
        self._total = len(ids)
        self._marks = deque((at, ids[at] >> 20) for at in range(_MARK, len(ids), _MARK))
        if self._log.revision < self._revision:
            missed, upto = file.read_history(self._db, "", self._log.revision + 1, self._revision, len(ids))
            self._log.append(missed, upto)

    # --- reading ---

    def get(self, key: str) -> KeyValue | None:
        """See ``Store.get``."""
        with self._reader() as db:
            return file.read_key(db, key)

    def list(self, prefix: str) -> tuple[_Items, int]:
        """See ``Store.list``."""
        with self._reader() as db:
            db.execute("BEGIN")
            try:
                revision = file.read_meta(db)["revision"]
                return file.read_prefix(db, prefix), revision
            finally:
                db.execute("ROLLBACK")

    def watch(self, prefix: str, from_revision: int) -> LogWatch:
        """See ``Store.watch``."""
        self._check_open()
        return LogWatch(self._log, prefix, from_revision, self.list, self._history)

    def _history(self, prefix: str, from_revision: int) -> tuple[_Changes, int]:
        with self._reader() as db:
            db.execute("BEGIN")
            try:
                meta = file.read_meta(db)
                if from_revision < meta["compacted"]:
                    raise Compacted(f"revision {from_revision} is no longer kept")
                return file.read_history(db, prefix, from_revision, meta["revision"], _PIECE)
            finally:
                db.execute("ROLLBACK")

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        self._check_open()
        with self._told():
            try:
                db = self._readers.pop()
            except IndexError:
                db = file.connect(self._path)
            try:
                yield db
            except sqlite3.Error:
                db.close()
                raise
            except StoreError:
                self._readers.append(db)
                raise
            self._readers.append(db)
        if self._closed:
            self._close_readers()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreUnavailable(file.sentence(self._path, error)) from error

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailable(f"the store {self._path} was closed")

    # --- writing ---

    def txn(self, compares: Sequence[Compare], puts: Sequence[Put], deletes: Sequence[str] = ()) -> TxnResult:
        """See ``Store.txn``."""
        check_txn(self.max_txn_ops, self.max_value_bytes, compares, puts, deletes)
        return self._group.submit(lambda: self._carry_out(compares, puts, deletes))

    def txn_many(self, txns: Sequence[TxnRequest]) -> Sequence[TxnResult]:
        """See ``Pipelined.txn_many``; they share one fsync."""
        for compares, puts, deletes in txns:
            check_txn(self.max_txn_ops, self.max_value_bytes, compares, puts, deletes)
        jobs = [Job(lambda txn=txn: self._carry_out(*txn)) for txn in txns]  # type: ignore[misc]  # mypy cannot infer
        self._group.run_all(jobs)
        return [cast(TxnResult, job.outcome()) for job in jobs]

    def compact(self, revision: int) -> None:
        """See ``Store.compact``; a revision that is yet to come counts as the present one."""
        self._group.submit(lambda: self._set_compacted(min(revision, self._revision)))
        # In pieces, so that others can write in between.
        while self._group.submit(self._sweep):
            pass

    def _commit(self, group: Sequence[Job]) -> None:
        try:
            self._check_open()
            with self._told():
                self._write_group(group)
        except BaseException as error:
            self._undo()
            for job in group:
                job.error = StoreUnavailable(str(error))
            if not isinstance(error, StoreError):
                raise

    def _write_group(self, group: Sequence[Job]) -> None:
        if self._stale:
            self._db.close()
            self._db = file.connect(self._path)
            self._load(file.read_meta(self._db))
            self._stale = False
        before = self._revision
        self._db.execute("BEGIN IMMEDIATE")
        self._expire()
        for job in group:
            try:
                job.result = job.run()
            except StoreError as error:
                job.error = error
        self._keep_short()
        if self._revision != before:
            file.set_meta(self._db, "revision", self._revision)
        self._db.execute("COMMIT")
        if self._fresh:
            self._log.append(self._fresh, self._revision)
            self._fresh = []

    def _undo(self) -> None:
        """Whether a COMMIT that failed is in the file after all shows when it is opened again."""
        self._stale = True
        self._fresh = []
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except sqlite3.Error:
            self._db.close()

    def _carry_out(self, compares: Sequence[Compare], puts: Sequence[Put], deletes: Sequence[str]) -> TxnResult:
        written = [put.key.encode() for put in puts]
        removed = [key.encode() for key in deletes]
        compared = [compare.key.encode() for compare in compares]
        present = file.find(self._db, {*written, *removed, *compared})
        for compare, key in zip(compares, compared, strict=True):
            if (present[key][0] >> file.SHIFT if key in present else 0) != compare.mod_revision:
                return TxnResult(False, self._revision)
        for put in puts:
            if put.lease and put.lease not in self._leases:
                raise LeaseExpired(f"the lease {put.lease} of the key {put.key!r} is gone")
        revision = self._revision + 1
        rows, changes = [], []
        for put, key in zip(puts, written, strict=True):
            created = present[key][1] if key in present else revision
            rows.append((key, put.value, created, put.lease))
            changes.append(Change(put.key, put.value, created, revision))
        gone = [key for key in removed if key in present]
        self._write(changes, present, rows, gone)
        return TxnResult(True, self._revision)

    def _write(
        self,
        changes: Sequence[Change],
        present: file.Present,
        rows: Sequence[tuple[bytes, bytes, int, int]],
        gone: Sequence[bytes],
    ) -> None:
        if not rows and not gone:
            return
        revision = self._revision + 1
        file.write(self._db, revision, present, rows, gone, self._swept)
        self._fresh += changes
        self._fresh += [Change(key.decode(), None, 0, revision) for key in gone]
        self._revision = revision
        self._total += len(rows) + len(gone)
        if self._total - (self._marks[-1][0] if self._marks else 0) >= _MARK:
            self._marks.append((self._total, revision))

    # --- history ---

    def _set_compacted(self, revision: int) -> None:
        if revision > self._compacted:
            file.set_meta(self._db, "compacted", revision)
            self._compacted = revision
            self._log.trim(revision)

    def _sweep(self) -> bool:
        """Clear a piece of what is compacted; False when there is no more."""
        if self._swept < self._compacted:
            self._swept = file.sweep(self._db, self._swept, self._compacted, _PIECE)
        return self._swept < self._compacted

    def _keep_short(self) -> None:
        while self._marks and self._total - self._marks[0][0] > self._keep:
            self._set_compacted(self._marks.popleft()[1])
        if self._swept < self._compacted:
            self._sweep()

    # --- leases ---

    def grant_lease(self, ttl_s: float) -> int:
        """See ``Store.grant_lease``."""

        def grant() -> int:
            number = cast(int, self._db.execute("INSERT INTO lease (ttl_s) VALUES (?)", (ttl_s,)).lastrowid)
            self._leases[number] = _Lease(ttl_s, self._clock() + ttl_s)
            return number

        number = self._group.submit(grant)
        self._watch_leases()
        return number

    def keep_alive(self, lease: int) -> None:
        """See ``Store.keep_alive``."""
        with self._group.lock:
            self._check_open()
            present, now = self._leases.get(lease), self._clock()
            if present is None or present.deadline <= now:
                raise LeaseExpired(f"the lease {lease} is gone")
            present.deadline = now + present.ttl_s

    def revoke_lease(self, lease: int) -> None:
        """See ``Store.revoke_lease``."""
        self._group.submit(lambda: self._end_lease(lease))

    def _end_lease(self, lease: int) -> None:
        if self._leases.pop(lease, None) is None:
            return
        rows = self._db.execute("SELECT key, id, created FROM latest WHERE lease = ? ORDER BY key", (lease,))
        present = {key: (id_, created) for key, id_, created in rows}
        self._write([], present, [], [*present])
        self._db.execute("DELETE FROM lease WHERE id = ?", (lease,))

    def _expire(self) -> None:
        if self._leases:
            now = self._clock()
            due = sorted((one.deadline, number) for number, one in self._leases.items() if one.deadline <= now)
            for _, number in due:
                self._end_lease(number)

    def _watch_leases(self) -> None:
        self._lease_news.set()
        if self._lease_thread is None:
            self._lease_thread = threading.Thread(target=self._end_leases, name="newbon store leases", daemon=True)
            self._lease_thread.start()

    def _end_leases(self) -> None:
        while not self._closed:
            deadlines = [one.deadline for one in [*self._leases.values()]]
            wait_s = min(deadlines, default=self._clock() + 60.0) - self._clock()
            if wait_s > 0:
                self._lease_news.wait(wait_s)
                self._lease_news.clear()
                continue
            try:
                self._group.submit(lambda: None)
            except StoreError:
                # The file fails, which every writer is told; the lease ends when it works again.
                self._lease_news.wait(1.0)

    # --- the end ---

    def close(self) -> None:
        """See ``Store.close``."""
        with self._group.lock:
            if self._closed:
                return
            self._closed = True
            self._db.close()
        self._log.close()
        self._lease_news.set()
        if self._lease_thread is not None:
            self._lease_thread.join()
        self._close_readers()
        self._lock_file.close()

    def _close_readers(self) -> None:
        while self._readers:
            try:
                self._readers.pop().close()
            except IndexError:
                return
