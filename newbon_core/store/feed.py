"""Watches inside one process: a shared log of changes that every watch reads by revision, without copies per watch."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from operator import attrgetter

from newbon_core.store.base import Change, Compacted, KeyValue, StoreError, WatchBatch
from newbon_core.store.limits import change_of

_revision = attrgetter("revision")

Listing = Callable[[str], tuple[list[KeyValue], int]]
"""``Store.list``."""

CatchUp = Callable[[str, int], tuple[list[Change], int]]
"""(prefix, from_revision) -> some changes that the log no longer holds, and up to which revision they are complete.
Raises Compacted."""


def nothing_older(_prefix: str, from_revision: int) -> tuple[list[Change], int]:
    """The CatchUp of a store whose log is all the history it has."""
    raise Compacted(f"revision {from_revision} is no longer kept")


class ChangeLog:
    """The changes of the newest revisions, in order. ``condition`` guards it and is notified when it grows.

    ``revision`` is that of the newest change, ``complete_from`` the first of which every change is here.
    """

    def __init__(self, revision: int, max_changes: int | None = None, max_bytes: int = 0) -> None:
        self.condition = threading.Condition(threading.RLock())
        self.revision = revision
        self.complete_from = revision + 1
        self.closed = False
        self._changes: list[Change] = []
        self._bytes = 0
        self._max_changes = max_changes
        self._max_bytes = max_bytes

    def __len__(self) -> int:
        return len(self._changes)

    def append(self, changes: Sequence[Change], revision: int) -> None:
        """Add the changes of one or several whole revisions, of which ``revision`` is the last."""
        with self.condition:
            self._changes += changes
            self.revision = revision
            if self._max_changes is not None:
                self._bytes += sum(len(change.value) for change in changes if change.value is not None)
                if len(self._changes) > 2 * self._max_changes or self._bytes > self._max_bytes:
                    self._shorten(self._max_changes // 2)
            self.condition.notify_all()

    def _shorten(self, keep: int) -> None:
        cut = max(0, len(self._changes) - keep)
        while cut < len(self._changes):
            left = sum(len(change.value) for change in self._changes[cut:] if change.value is not None)
            if left <= self._max_bytes // 2:
                break
            cut += (len(self._changes) - cut + 1) // 2
        self.trim(self._changes[cut - 1].revision + 1)

    def trim(self, revision: int) -> None:
        """Forget what is older than ``revision``."""
        with self.condition:
            del self._changes[: bisect_left(self._changes, revision, key=_revision)]
            self._bytes = sum(len(change.value) for change in self._changes if change.value is not None)
            self.complete_from = max(self.complete_from, revision)

    def since(self, revision: int) -> list[Change]:
        """The changes of ``revision`` and later; the caller holds ``condition``."""
        return self._changes[bisect_left(self._changes, revision, key=_revision) :]

    def close(self) -> None:
        """End every watch."""
        with self.condition:
            self.closed = True
            self.condition.notify_all()


class LogWatch:
    """A watch over a ChangeLog: what is older than the log comes by ``catch_up``, what is compacted by ``listing``."""

    def __init__(
        self, log: ChangeLog, prefix: str, from_revision: int, listing: Listing, catch_up: CatchUp = nothing_older
    ) -> None:
        self._log = log
        self._prefix = prefix
        self._next = max(1, from_revision)
        self._listing = listing
        self._catch_up = catch_up
        self._closed = False

    def poll(self, timeout_s: float) -> WatchBatch | None:
        """See ``Watch.poll``."""
        log = self._log
        if self._closed or log.closed:
            raise StoreError(f"the watch of {self._prefix!r} was closed")
        if log.revision < self._next and timeout_s <= 0:
            return None
        deadline = time.monotonic() + timeout_s if timeout_s > 0 else 0.0
        while not (self._closed or log.closed):
            with log.condition:
                if log.revision < self._next:
                    left = deadline - time.monotonic() if deadline else 0.0
                    if left <= 0:
                        return None
                    log.condition.wait(left)
                    continue
                known = self._next >= log.complete_from
                changes, upto = (log.since(self._next), log.revision) if known else ([], 0)
            batch = self._batch(changes, upto) if known else self._older()
            if batch is not None:
                return batch
        return None

    def _batch(self, changes: list[Change], upto: int) -> WatchBatch | None:
        self._next = upto + 1
        prefix = self._prefix
        wanted = [change for change in changes if change.key.startswith(prefix)]
        return WatchBatch(wanted, upto) if wanted else None

    def _older(self) -> WatchBatch | None:
        try:
            changes, upto = self._catch_up(self._prefix, self._next)
        except Compacted:
            items, revision = self._listing(self._prefix)
            self._next = revision + 1
            return WatchBatch([change_of(item) for item in items], revision, reset=True)
        return self._batch(changes, upto)

    def close(self) -> None:
        """See ``Watch.close``."""
        with self._log.condition:
            self._closed = True
            self._log.condition.notify_all()
