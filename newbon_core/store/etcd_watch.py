"""A watch of etcd that ends only when it is closed: it resumes after every end of its stream and misses nothing.

One thread reads the stream and opens another one where it ends. That a stream has gone silent because its server or
the way to it is gone is noticed by whoever polls: it asks for a sign of life and gives the stream up without one.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from typing import Any

import grpc

from newbon_core.store.base import Change, StoreError, WatchBatch
from newbon_core.store.etcd_errors import Verdict, verdict
from newbon_core.store.etcd_link import CONNECT_S, Link, Member, NotConnected, rpc
from newbon_core.store.feed import Listing
from newbon_core.store.limits import change_of, prefix_range

log = logging.getLogger(__name__)

IDLE_S = 4.0
"""A stream that was silent for so long is asked for a sign of life."""

SILENT_S = 4.0
"""A stream that gives none for so long after is given up."""

_ROOM = 20_000
_LONGEST_PAUSE_S = 1.0
_DELETE = 1
_REQUIRE_LEADER = ("hasleader", "true")
"""Makes a member that is cut off from the others end its streams, instead of leaving them silent."""

# ``None`` in the queue of requests ends the stream's writing side.
_Requests = queue.SimpleQueue[Any]


class EtcdWatch:
    """See ``Watch``."""

    def __init__(self, link: Link, listing: Listing, prefix: str, from_revision: int) -> None:
        self._link = link
        self._listing = listing
        self._prefix = prefix
        self._next = max(1, from_revision)
        self._member = 0
        self._news = threading.Condition()
        self._batches: deque[WatchBatch] = deque()
        self._waiting = 0
        self._partial: list[Change] = []
        self._closed = False
        self._call: Any = None
        self._requests: _Requests = queue.SimpleQueue()
        self._heard = time.monotonic()
        self._asked = False
        self._thread = threading.Thread(target=self._run, name=f"newbon watch {prefix}", daemon=True)
        self._thread.start()

    # --- the one who polls ---

    def poll(self, timeout_s: float) -> WatchBatch | None:
        """See ``Watch.poll``."""
        deadline = time.monotonic() + timeout_s
        with self._news:
            if self._closed or self._link.closed:
                raise StoreError(f"the watch of {self._prefix!r} was closed")
            while not self._batches:
                left = deadline - time.monotonic()
                if left <= 0 or self._closed:
                    return None
                self._check_life()
                self._news.wait(min(left, 1.0))
            return self._take()

    def _take(self) -> WatchBatch:
        """All that waits, as one batch, up to a reset: fewer and larger steps for who takes it."""
        batch = self._batches.popleft()
        if self._batches and not batch.reset and not self._batches[0].reset:
            changes = list(batch.changes)
            while self._batches and not self._batches[0].reset:
                batch = self._batches.popleft()
                changes += batch.changes
            batch = WatchBatch(changes, batch.revision)
        self._waiting = sum(len(one.changes) for one in self._batches)
        self._news.notify_all()
        return batch

    def _check_life(self) -> None:
        silent_s = time.monotonic() - self._heard
        if silent_s > IDLE_S + SILENT_S:
            if self._call is not None:
                self._call.cancel()
        elif silent_s > IDLE_S and not self._asked:
            self._asked = True
            self._requests.put(rpc.WatchRequest(progress_request=rpc.WatchProgressRequest()))

    def close(self) -> None:
        """See ``Watch.close``."""
        with self._news:
            self._closed = True
            self._requests.put(None)
            if self._call is not None:
                self._call.cancel()
            self._news.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(CONNECT_S)

    # --- the thread that reads ---

    def _run(self) -> None:
        pause_s = 0.0
        while not self._closed:
            member = self._link.members[self._member % len(self._link.members)]
            try:
                pause_s = 0.05 if self._follow(member) else max(0.05, pause_s)
            except NotConnected:
                self._member += 1
            except grpc.RpcError as error:
                self._ended(error, member)
            except StoreError as error:
                self._log(f"{error}")
            except ValueError:
                # grpc's way to say that the connection was closed under it, which the store's close does.
                self._log("the connection was closed")
            with self._news:
                if not self._closed:
                    self._news.wait(pause_s)
            pause_s = min(max(0.05, pause_s * 2), _LONGEST_PAUSE_S)

    def _ended(self, error: grpc.RpcError, member: Member) -> None:
        if verdict(error) is Verdict.SIGN_IN:
            self._link.forget_token()
        else:
            self._member += 1
        self._log(f"{member.address}: {error.details() or error.code().name}")

    def _log(self, reason: str) -> None:
        if not self._closed and not self._link.closed:
            log.info(
                "the watch of %r goes on at revision %d after its stream ended: %s", self._prefix, self._next, reason
            )

    def _follow(self, member: Member) -> bool:
        """Read one stream to its end; True where it ended because it was asked of it."""
        member.connect(CONNECT_S)
        requests: _Requests = queue.SimpleQueue()
        requests.put(self._create())
        metadata = (*self._link.metadata(member), _REQUIRE_LEADER)
        self._partial = []
        with self._news:
            if self._closed:
                return True
            self._requests, self._asked, self._heard = requests, False, time.monotonic()
            self._call = call = member.watch.Watch(iter(requests.get, None), metadata=metadata)
        try:
            for response in call:
                self._heard, self._asked = time.monotonic(), False
                if response.canceled:
                    return self._canceled(response)
                if response.events:
                    self._take_events(response)
        except grpc.RpcError:
            member.connected = False
            raise
        finally:
            self._call = None
            requests.put(None)
            call.cancel()
        return False

    def _create(self) -> Any:
        first, after = prefix_range(self._prefix)
        # One revision earlier than needed: where that one was compacted away, etcd may have forgotten deletions of it,
        # and where the one before was, it says so.
        return rpc.WatchRequest(
            create_request=rpc.WatchCreateRequest(
                key=first or b"\0",
                range_end=after or b"\0",
                start_revision=max(1, self._next - 1),
                fragment=True,
            )
        )

    def _canceled(self, response: Any) -> bool:
        if not response.compact_revision:
            reason = response.cancel_reason or "no reason given"
            if "auth" in reason or "permission" in reason:
                self._link.forget_token()
            raise StoreError(f"etcd ended the watch: {reason}")
        items, revision = self._listing(self._prefix)
        self._next = revision + 1
        self._put(WatchBatch([change_of(item) for item in items], revision, reset=True))
        return True

    def _take_events(self, response: Any) -> None:
        changes = self._partial
        for event in response.events:
            kv = event.kv
            if kv.mod_revision >= self._next:
                value = None if event.type == _DELETE else kv.value
                changes.append(Change(kv.key.decode(), value, kv.create_revision, kv.mod_revision))
        self._partial = []
        if response.fragment and changes:
            # The rest of the last revision is yet to come.
            last = changes[-1].revision
            cut = next(i for i in range(len(changes), -1, -1) if i == 0 or changes[i - 1].revision != last)
            changes, self._partial = changes[:cut], changes[cut:]
        if changes:
            self._next = changes[-1].revision + 1
            self._put(WatchBatch(changes, changes[-1].revision))

    def _put(self, batch: WatchBatch) -> None:
        with self._news:
            # Where nobody takes them, the server is to keep them, not this process.
            while self._waiting > _ROOM and not self._closed:
                self._news.wait()
            self._batches.append(batch)
            self._waiting += len(batch.changes)
            self._heard = time.monotonic()
            self._news.notify_all()
