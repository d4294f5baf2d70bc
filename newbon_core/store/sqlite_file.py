"""The file of the SQLite store: who may open it, its tables, and the statements on them.

``change`` holds every version of every key that is still kept, as an append-only log; ``latest`` points to the version
that stands. A version's id is its revision shifted by 20 bits plus its place in the transaction, so ids are in order.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from newbon_core.store.base import Change, KeyValue, StoreError, StoreUnavailable
from newbon_core.store.limits import prefix_range

SHIFT = 20
_FORMAT = 1
_APPLICATION = 0x4E42534B
_CHUNKS = (64, 16, 4, 1)
_SCHEMA = """
CREATE TABLE change (id INTEGER PRIMARY KEY, key BLOB NOT NULL, value BLOB, created INTEGER NOT NULL);
CREATE TABLE latest (key BLOB PRIMARY KEY, id INTEGER NOT NULL, created INTEGER NOT NULL, lease INTEGER NOT NULL)
  WITHOUT ROWID;
CREATE INDEX latest_lease ON latest (lease) WHERE lease != 0;
CREATE TABLE lease (id INTEGER PRIMARY KEY AUTOINCREMENT, ttl_s REAL NOT NULL);
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('revision', 1), ('compacted', 1), ('swept', 1);
"""
_STANDING = "SELECT l.key, c.value, l.created, l.id >> 20 FROM latest l JOIN change c ON c.id = l.id"

Present = dict[bytes, tuple[int, int]]
"""By key: the id of the version that stands, and the revision that created the key."""


class StoreInUse(StoreError):
    """Another server has the file open."""


def claim(path: Path) -> IO[str]:
    """Make the file (mode 0600) and lock it for as long as what is returned is open. Raises StoreInUse."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.fdopen(os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600), "r+")
    except OSError as error:
        raise StoreUnavailable(f"the store {path} cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.fchmod(file, 0o600)
        os.close(file)
    except BlockingIOError:
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise StoreInUse(
            f"the store {path} is open in another process (process id {holder}): only one server can use it; "
            "stop that one, or give this one another data_dir"
        ) from None
    except OSError as error:
        lock.close()
        raise StoreUnavailable(f"the store {path} cannot be opened: {error.strerror}") from error
    return lock


def connect(path: Path) -> sqlite3.Connection:
    """A connection that may be used by one thread after another; it makes the tables where there are none."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    format_ = connection.execute("PRAGMA user_version").fetchone()[0]
    if format_ == 0 and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
        marks = f"PRAGMA user_version = {_FORMAT}; PRAGMA application_id = {_APPLICATION};"
        connection.executescript(f"BEGIN;{_SCHEMA}{marks}COMMIT;")
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    elif format_ != _FORMAT or connection.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION:
        raise StoreError(
            f"{path} is not a store of this version of Newbon: expected format {_FORMAT}, found {format_}; "
            "it was made by another version or another program"
        )


def sentence(path: Path, error: sqlite3.Error) -> str:
    """What went wrong with the file, for a person."""
    name = getattr(error, "sqlite_errorname", "")
    if name == "SQLITE_FULL":
        return f"the disk that holds the store {path} is full: nothing was written"
    if name.startswith("SQLITE_READONLY"):
        return f"the store {path} is read-only: nothing was written"
    if name.startswith("SQLITE_IOERR"):
        return f"the disk that holds the store {path} fails: {error} ({name})"
    if name in ("SQLITE_CORRUPT", "SQLITE_NOTADB"):
        return f"the store {path} is damaged: {error} ({name}); restore it from a backup"
    return f"the store {path} does not answer: {error}{f' ({name})' if name else ''}"


# --- statements; several rows each, because each one lets another thread run, which may then keep the processor ------


def _chunks(rows: Sequence[tuple[object, ...]]) -> Iterator[tuple[int, list[object]]]:
    """The rows in few sizes of pieces, flattened, so that few different statements have to be prepared."""
    at = 0
    for size in _CHUNKS:
        while len(rows) - at >= size:
            yield size, [value for row in rows[at : at + size] for value in row]
            at += size


@lru_cache(64)
def _filled(statement: str, marks: str, rows: int) -> str:
    return statement.replace("VALUES ?", "VALUES " + ",".join([marks] * rows)).replace(
        "IN ?", "IN (" + ",".join("?" * rows) + ")"
    )


def run_many(db: sqlite3.Connection, statement: str, rows: Sequence[tuple[object, ...]]) -> Iterator[tuple[Any, ...]]:
    """Carry out ``… VALUES ?`` or ``… IN ?`` over many rows; yields what it selects."""
    if not rows:
        return
    marks = "(" + ",".join("?" * len(rows[0])) + ")"
    for size, values in _chunks(rows):
        yield from db.execute(_filled(statement, marks, size), values)


def _do_many(db: sqlite3.Connection, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
    for _ in run_many(db, statement, rows):
        pass


def find(db: sqlite3.Connection, keys: Iterable[bytes]) -> Present:
    """Those of the keys that exist."""
    rows = run_many(db, "SELECT key, id, created FROM latest WHERE key IN ?", [(key,) for key in keys])
    return {key: (id_, created) for key, id_, created in rows}


def write(
    db: sqlite3.Connection,
    revision: int,
    present: Present,
    puts: Sequence[tuple[bytes, bytes, int, int]],
    deletes: Sequence[bytes],
    swept: int,
) -> None:
    """Store puts (key, value, created, lease) and deletes as ``revision``; ``present`` tells of every key in them."""
    first = revision << SHIFT
    versions: list[tuple[object, ...]] = [
        (first + place, key, value, created) for place, (key, value, created, _) in enumerate(puts)
    ]
    pointers = [(key, first + place, created, lease) for place, (key, _, created, lease) in enumerate(puts)]
    versions += [(first + len(puts) + place, key, None, 0) for place, key in enumerate(deletes)]
    _do_many(db, "INSERT INTO change VALUES ?", versions)
    _do_many(db, "REPLACE INTO latest VALUES ?", pointers)
    _do_many(db, "DELETE FROM latest WHERE key IN ?", [(key,) for key in deletes])
    # What is kept only because it stands goes with it; what is in the history is swept later.
    oldest = swept << SHIFT
    gone = [present[key][0] for key in [*(put[0] for put in puts), *deletes] if key in present]
    _do_many(db, "DELETE FROM change WHERE id IN ?", [(id_,) for id_ in gone if id_ < oldest])


def read_meta(db: sqlite3.Connection) -> dict[str, int]:
    """``revision``, ``compacted`` (the first revision that is kept whole) and ``swept`` (the first not yet cleared)."""
    return dict(db.execute("SELECT name, value FROM meta"))


def set_meta(db: sqlite3.Connection, name: str, value: int) -> None:
    """Keep one of the numbers of ``read_meta``."""
    db.execute("UPDATE meta SET value = ? WHERE name = ?", (value, name))


def read_key(db: sqlite3.Connection, key: str) -> KeyValue | None:
    """One key as it stands."""
    row = db.execute(f"{_STANDING} WHERE l.key = ?", (key.encode(),)).fetchone()
    return KeyValue(key, row[1], row[2], row[3]) if row is not None else None


def read_prefix(db: sqlite3.Connection, prefix: str) -> list[KeyValue]:
    """Every key under a prefix, sorted."""
    first, after = prefix_range(prefix)
    query, values = f"{_STANDING} WHERE l.key >= ?", [first]
    if after is not None:
        query, values = f"{query} AND l.key < ?", [first, after]
    rows = db.execute(f"{query} ORDER BY l.key", values)
    return [KeyValue(key.decode(), value, created, revision) for key, value, created, revision in rows]


def read_history(db: sqlite3.Connection, prefix: str, revision: int, last: int, rows: int) -> tuple[list[Change], int]:
    """Changes under a prefix from ``revision`` on, and up to which revision they are complete (at most ``last``)."""
    begin = revision << SHIFT
    query = "SELECT id FROM change WHERE id >= ? ORDER BY id LIMIT 1 OFFSET ?"
    beyond = db.execute(query, (begin, rows)).fetchone()
    upto = last if beyond is None else beyond[0] >> SHIFT
    first, after = prefix_range(prefix)
    query = "SELECT key, value, created, id >> 20 FROM change WHERE id >= ? AND id < ? AND key >= ?"
    values: list[object] = [begin, (upto + 1) << SHIFT, first]
    if after is not None:
        query, values = f"{query} AND key < ?", [*values, after]
    found = db.execute(f"{query} ORDER BY id", values)
    return [Change(key.decode(), value, created, at) for key, value, created, at in found], upto


def sweep(db: sqlite3.Connection, swept: int, compacted: int, rows: int) -> int:
    """Clear some of the history before ``compacted``; returns the first revision that is not yet cleared."""
    query = "SELECT id FROM change WHERE id >= ? AND id < ? ORDER BY id LIMIT 1 OFFSET ?"
    beyond = db.execute(query, (swept << SHIFT, compacted << SHIFT, rows)).fetchone()
    upto = compacted if beyond is None else (beyond[0] >> SHIFT) + 1
    db.execute(
        "DELETE FROM change WHERE id >= ? AND id < ? AND NOT EXISTS "
        "(SELECT 1 FROM latest WHERE latest.key = change.key AND latest.id = change.id)",
        (swept << SHIFT, upto << SHIFT),
    )
    set_meta(db, "swept", upto)
    return upto
