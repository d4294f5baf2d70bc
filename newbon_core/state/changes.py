"""Writing: a set of changes is decided from what was seen and committed by compare-and-swap on exactly that.

``commit_units`` is for controllers: many small independent units, packed into few transactions. ``commit_atomic`` is
for the API: one set, all or nothing, of any size.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from newbon_core.model import Event, EventBatch
from newbon_core.state.cache import Stored
from newbon_core.state.codec import ROOT, Object, ObjectType, encode, key_for, key_of
from newbon_core.store.base import Compare, Put, Store, TransactionTooLarge, TxnResult
from newbon_core.store.pipelined import TxnRequest, txn_many

T = TypeVar("T")
JOURNAL = f"{ROOT}journal/"
_EVENTS_PER_BATCH = 200
_EVENT_BYTES = 250


@dataclass(slots=True)
class Changes:
    """One unit: all of it is written, or nothing. Revision 0 in a compare means that the key must be absent."""

    compares: dict[str, int] = field(default_factory=dict)
    puts: dict[str, Object] = field(default_factory=dict)
    deletes: dict[str, None] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    def create(self, value: Object) -> None:
        """Write an object that must not exist yet."""
        key = key_for(value)
        self.compares[key] = 0
        self.puts[key] = value

    def update(self, value: Object, over: Stored[object]) -> None:
        """Write an object over exactly the version that was seen."""
        key = key_for(value)
        self.compares[key] = over.revision
        self.puts[key] = value

    def put(self, value: Object) -> None:
        """Write an object whatever was there: for what has a single writer."""
        self.puts[key_for(value)] = value

    def delete(self, kind: ObjectType, name: str, over: Stored[object] | None) -> None:
        """Delete an object, if it is still the version that was seen (None: whatever it is)."""
        key = key_of(kind, name)
        if over is not None:
            self.compares[key] = over.revision
        self.deletes[key] = None

    def require(self, kind: ObjectType, name: str, seen: Stored[object] | None) -> None:
        """Commit only if this object is still as it was seen (None: still absent)."""
        self.compares[key_of(kind, name)] = seen.revision if seen is not None else 0

    def __bool__(self) -> bool:
        return bool(self.puts or self.deletes or self.events)

    @property
    def operations(self) -> int:
        """Writes in this unit, without its events."""
        return len(self.puts) + len(self.deletes)


@dataclass(frozen=True, slots=True)
class CommitResult:
    """``committed[i]`` tells of unit i; ``revision`` is the highest one written or seen, ``written`` only written."""

    committed: tuple[bool, ...]
    revision: int
    written: int = 0

    @property
    def all(self) -> bool:
        """True when nothing was refused."""
        return all(self.committed)


NewId = Callable[[], str]
"""Makes the unique end of an event batch's name; a simulation gives its own."""


def random_id() -> str:
    """Eight random hexadecimal digits."""
    return secrets.token_hex(4)


def commit_units(
    store: Store, units: Sequence[Changes], fence: Sequence[Compare] = (), new_id: NewId = random_id
) -> CommitResult:
    """Commit each unit on its own merits, as many as fit to a transaction, and several transactions at a time.

    No order among units is promised. A transaction that is refused is halved until the refused units are alone.
    ``fence`` is added to every transaction (leadership). Raises StoreUnavailable: then any of the units may have been
    written; and TransactionTooLarge where a single unit is too large for the store.
    """
    encoded = [_encoded(unit) for unit in units]
    committed = [False] * len(units)
    revision = written = 0
    pending = _pack(store, encoded, len(fence))
    while pending:
        requests = [_request([encoded[i] for i in batch], fence, new_id) for batch in pending]
        refused: list[list[int]] = []
        for batch, result in zip(pending, txn_many(store, requests), strict=True):
            revision = max(revision, result.revision)
            if result.succeeded:
                written = max(written, result.revision)
                for i in batch:
                    committed[i] = True
            elif len(batch) > 1:
                middle = len(batch) // 2
                refused += [batch[:middle], batch[middle:]]
        pending = refused
    return CommitResult(tuple(committed), revision, written)


@dataclass(frozen=True, slots=True)
class _Encoded:
    """A unit as it goes to the store; ``size`` is its bytes, roughly."""

    unit: Changes
    puts: list[Put]
    size: int


def _encoded(unit: Changes) -> _Encoded:
    puts = [Put(key, encode(value)) for key, value in unit.puts.items()]
    size = 0
    for put in puts:
        size += len(put.key) + len(put.value)
    for key in unit.deletes:
        size += len(key)
    for event in unit.events:
        size += len(event.message) + _EVENT_BYTES
    return _Encoded(unit, puts, size)


def _pack(store: Store, encoded: Sequence[_Encoded], reserved: int) -> list[list[int]]:
    """Indexes of units by transaction, in order. What one unit writes, no other of its transaction may touch."""
    room = store.max_txn_ops
    packed: list[list[int]] = []
    written: set[str] = set()
    compared: dict[str, int] = {}
    operations = events = size = 0
    for i, one in enumerate(encoded):
        unit = one.unit
        fits = (
            packed
            and operations + unit.operations + 1 + (events + len(unit.events)) // _EVENTS_PER_BATCH < room
            and sum(key not in compared for key in unit.compares) + len(compared) + reserved <= room
            and size + one.size <= store.max_value_bytes
            and not _meets(unit, written, compared)
        )
        if not fits:
            packed.append([])
            written, compared = set(), {}
            operations = events = size = 0
        packed[-1].append(i)
        compared |= unit.compares
        written.update(unit.puts, unit.deletes)
        operations += unit.operations
        events += len(unit.events)
        size += one.size
    return packed


def _meets(unit: Changes, written: set[str], compared: dict[str, int]) -> bool:
    """True where the unit and what is packed already cannot be one transaction without losing a compare."""
    for key, revision in unit.compares.items():
        if key in written or compared.get(key, revision) != revision:
            return True
    for writes in (unit.puts, unit.deletes):
        for key in writes:
            if key in written or key in compared:
                return True
    return False


def _request(encoded: Sequence[_Encoded], fence: Sequence[Compare], new_id: NewId) -> TxnRequest:
    compares = {compare.key: compare.mod_revision for compare in fence}
    puts: list[Put] = []
    deletes: list[str] = []
    events: list[Event] = []
    for one in encoded:
        compares |= one.unit.compares
        puts += one.puts
        deletes += one.unit.deletes
        events += one.unit.events
    puts += _event_puts(events, new_id)
    return [Compare(key, revision) for key, revision in compares.items()], puts, deletes


def _event_puts(events: Sequence[Event], new_id: NewId) -> list[Put]:
    batches = (events[i : i + _EVENTS_PER_BATCH] for i in range(0, len(events), _EVENTS_PER_BATCH))
    named = [EventBatch(name=f"{int(b[0].time * 1e6):018d}-{new_id()}", events=tuple(b)) for b in batches]
    return [Put(key_for(batch), encode(batch)) for batch in named]


# --- one set of any size ---------------------------------------------------------------------------------------------


_GONE = msgspec.Raw(b"null")


@dataclass(frozen=True, slots=True)
class _Write:
    """One write of a journal; a value of null deletes the key. ``over``: only over this revision, if it is given."""

    key: str
    value: msgspec.Raw
    over: int | None


_PART = msgspec.json.Decoder(list[_Write])


def commit_atomic(
    store: Store, changes: Changes, fence: Sequence[Compare] = (), new_id: NewId = random_id
) -> TxnResult:
    """Commit one set, all or nothing, also where it is larger than the store's transactions.

    A large set is first written down in a journal and then carried out in pieces; whoever finds an unfinished journal
    (``finish_journals``) completes it, so a crash at any point leaves all or nothing in the end, though a reader may
    see a part of it for a moment. Raises StoreUnavailable: then it may or may not be committed; and TransactionTooLarge
    where a single object is too large for the store.
    """
    puts = _event_puts(changes.events, new_id)
    room = store.max_txn_ops
    large = changes.operations + len(puts) > room or len(changes.compares) + len(fence) > room
    if not large:
        try:
            return store.txn(*_request([_encoded(changes)], fence, new_id))
        except TransactionTooLarge:
            pass
    writes = [_Write(key, msgspec.Raw(encode(v)), changes.compares.get(key)) for key, v in changes.puts.items()]
    writes += [_Write(key, _GONE, changes.compares.get(key)) for key in changes.deletes]
    writes += [_Write(put.key, msgspec.Raw(put.value), None) for put in puts]
    return _commit_journal(store, f"{JOURNAL}{new_id()}{new_id()}", writes, changes.compares, fence)


def _commit_journal(
    store: Store, name: str, writes: Sequence[_Write], compares: dict[str, int], fence: Sequence[Compare]
) -> TxnResult:
    expected = [Compare(key, revision) for key, revision in compares.items()]
    held = _all_hold(store, expected)
    if not held.succeeded:
        return held
    room = store.max_txn_ops - len(fence) - 1
    parts = [
        Put(f"{name}/part/{number:06d}", value) for number, value in enumerate(_parts(writes, store.max_value_bytes))
    ]
    mark = Put(f"{name}/commit", b"1")
    try:
        # The last part goes with the mark. The one before is compared so that a journal that another server swept away
        # as unfinished is not called committed.
        before = [Compare(one.key, store.txn([], [one]).revision) for one in parts[:-1]]
        marked = store.txn([*before[-1:], *fence, *expected[:room]], [parts[-1], mark])
    except TransactionTooLarge:
        _delete_all(store, f"{name}/")
        raise
    if not marked.succeeded:
        _delete_all(store, f"{name}/")
        return marked
    revision = _carry_out(store, writes)
    _delete_keys(store, [mark.key, *(one.key for one in parts)])
    return TxnResult(True, revision)


def _all_hold(store: Store, compares: Sequence[Compare]) -> TxnResult:
    """Whether all of them hold, of which there may be more than a transaction takes; nothing is written."""
    room = store.max_txn_ops
    checks: list[TxnRequest] = [(compares[i : i + room], (), ()) for i in range(0, len(compares), room)]
    results = txn_many(store, checks)
    revision = max((result.revision for result in results), default=0)
    return TxnResult(all(result.succeeded for result in results), revision)


def _parts(writes: Sequence[_Write], max_bytes: int) -> list[bytes]:
    """The writes as JSON lists, each small enough for a transaction of so many bytes."""
    encoded = [msgspec.json.encode(write) for write in writes]
    return [b"[" + b",".join(part) + b"]" for part in _cut(encoded, encoded, max_bytes, len(encoded))]


def _cut(items: Sequence[T], encoded: Sequence[bytes], max_bytes: int, most: int) -> list[list[T]]:
    """The items in order, in lists of at most ``most`` whose encodings have room in a transaction of ``max_bytes``."""
    lists: list[list[T]] = []
    size = 0
    for item, text in zip(items, encoded, strict=True):
        size += len(text) + 1
        if not lists or len(lists[-1]) >= most or size > max_bytes * 4 // 5:
            lists.append([])
            size = len(text) + 1
        lists[-1].append(item)
    return lists


def _carry_out(store: Store, writes: Sequence[_Write]) -> int:
    """Apply the pieces. A key that somebody else has changed since keeps the later change: it came after ours."""
    revision = 0
    pending = _cut(writes, [bytes(write.value) for write in writes], store.max_value_bytes, store.max_txn_ops)
    while pending:
        refused: list[list[_Write]] = []
        for piece, result in zip(pending, txn_many(store, [_piece(one) for one in pending]), strict=True):
            revision = max(revision, result.revision)
            if not result.succeeded and len(piece) > 1:
                refused += [piece[: len(piece) // 2], piece[len(piece) // 2 :]]
        pending = refused
    return revision


def _piece(writes: Sequence[_Write]) -> TxnRequest:
    compares = [Compare(write.key, write.over) for write in writes if write.over is not None]
    values = [(write.key, bytes(write.value)) for write in writes]
    gone = bytes(_GONE)
    return compares, [Put(key, value) for key, value in values if value != gone], [k for k, v in values if v == gone]


def _delete_all(store: Store, prefix: str) -> None:
    # The commit mark goes first: parts without it are swept away, never carried out a second time.
    _delete_keys(
        store, sorted((item.key for item in store.list(prefix)[0]), key=lambda key: not key.endswith("/commit"))
    )


def _delete_keys(store: Store, keys: Sequence[str]) -> None:
    for i in range(0, len(keys), store.max_txn_ops):
        store.txn([], [], keys[i : i + store.max_txn_ops])


def unfinished_journals(store: Store) -> set[str]:
    """Names of the journals that are there: of commits that are under way, or that ended half done."""
    return {item.key[len(JOURNAL) :].split("/")[0] for item in store.list(JOURNAL)[0]}


def finish_journals(store: Store, names: Collection[str] | None = None) -> int:
    """Complete what a crash or an outage left half done (None: everything); returns how many journals were finished.

    Harmless for a commit that is still under way: it may be refused, and is then tried anew.
    """
    finished = 0
    for name in sorted(unfinished_journals(store) if names is None else names):
        items = store.list(f"{JOURNAL}{name}/")[0]
        if any(item.key.endswith("/commit") for item in items):
            _carry_out(store, [w for item in items if "/part/" in item.key for w in _PART.decode(item.value)])
            finished += 1
        _delete_all(store, f"{JOURNAL}{name}/")
    return finished
