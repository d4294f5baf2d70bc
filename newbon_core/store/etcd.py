"""The distributed store: etcd, by any number of its endpoints, through the connection and the stubs of ``etcd3``."""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc

from newbon_core.store.base import (
    Compacted,
    Compare,
    KeyValue,
    LeaseExpired,
    Put,
    StoreError,
    StoreUnavailable,
    TxnResult,
)
from newbon_core.store.etcd_errors import Verdict, YetToCome, refusal, verdict
from newbon_core.store.etcd_link import CONNECT_S, Link, Member, NotConnected, Security, rpc
from newbon_core.store.etcd_watch import EtcdWatch
from newbon_core.store.limits import MAX_TXN_BYTES, MAX_TXN_OPS, check_txn, prefix_range
from newbon_core.store.pipelined import TxnRequest

_FIRST_PAGE = 1000
_PAGE_BYTES = 8_000_000
_LARGEST_PAGE = 20_000
_IN_FLIGHT = 16
_LISTS = 5
_MOD = rpc.Compare.MOD

# Inside the class the name ``list`` is a method.
_Items = list[KeyValue]


class EtcdStore:
    """See ``newbon_core.store.base.Store``.

    ``endpoints``: ``host:port`` each, ``https://host:port`` for TLS by the system's authorities; ``ca_cert`` for TLS by
    that authority, ``cert`` and ``key`` for a client's certificate. ``timeout_s`` is how long one operation may take in
    all, repetitions at other members included; it is longer than etcd's own (7 s) so that etcd can say what happened.
    Raises StoreUnavailable for settings that cannot be right; nothing is asked of etcd before the first operation.
    """

    max_txn_ops = MAX_TXN_OPS
    max_value_bytes = MAX_TXN_BYTES

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        ca_cert: Path | None = None,
        cert: Path | None = None,
        key: Path | None = None,
        username: str | None = None,
        password: str | None = None,
        timeout_s: float = 8.0,
    ) -> None:
        self._link = Link(endpoints, Security(ca_cert, cert, key, username, password), timeout_s)
        self._watches: weakref.WeakSet[EtcdWatch] = weakref.WeakSet()
        self._lock = threading.Lock()

    # --- reading ---

    def get(self, key: str) -> KeyValue | None:
        """See ``Store.get``."""
        answer = self._link.call(_range, rpc.RangeRequest(key=key.encode()), repeatable=True)
        return _item(answer.kvs[0]) if answer.kvs else None

    def list(self, prefix: str) -> tuple[_Items, int]:
        """See ``Store.list``. Read in pages, all of them at the revision of the first."""
        for _ in range(_LISTS):
            try:
                return self._list(prefix)
            except Compacted:
                # The revision of the first page was compacted while the others were read.
                continue
        raise StoreUnavailable(f"{prefix!r} cannot be listed: its history is compacted faster than it is read")

    def _list(self, prefix: str) -> tuple[_Items, int]:
        first, after = prefix_range(prefix)
        start, limit, revision = first or b"\0", _FIRST_PAGE, 0
        items: _Items = []
        while True:
            request = rpc.RangeRequest(key=start, range_end=after or b"\0", limit=limit, revision=revision)
            answer = self._link.call(_range, request, repeatable=True)
            revision = revision or answer.header.revision
            page = [*map(_item, answer.kvs)]
            items += page
            if not answer.more:
                return items, revision
            start = page[-1].key.encode() + b"\0"
            fitting = len(page) * _PAGE_BYTES // max(1, sum(len(item.value) for item in page))
            limit = max(16, min(fitting, limit * 8, _LARGEST_PAGE))

    def watch(self, prefix: str, from_revision: int) -> EtcdWatch:
        """See ``Store.watch``. A thread reads it until it is closed."""
        if self._link.closed:
            raise StoreUnavailable("the store was closed")
        watch = EtcdWatch(self._link, self.list, prefix, from_revision)
        with self._lock:
            self._watches.add(watch)
        return watch

    # --- writing ---

    def txn(self, compares: Sequence[Compare], puts: Sequence[Put], deletes: Sequence[str] = ()) -> TxnResult:
        """See ``Store.txn``. It is only repeated where it certainly did not happen."""
        check_txn(self.max_txn_ops, self.max_value_bytes, compares, puts, deletes)
        answer = self._link.call(_txn, _request(compares, puts, deletes), repeatable=False)
        return TxnResult(answer.succeeded, answer.header.revision)

    def txn_many(self, txns: Sequence[TxnRequest]) -> Sequence[TxnResult]:
        """See ``Pipelined.txn_many``: up to 16 of them are under way at a time."""
        for compares, puts, deletes in txns:
            check_txn(self.max_txn_ops, self.max_value_bytes, compares, puts, deletes)
        results: _Results = []
        for at in range(0, len(txns), _IN_FLIGHT):
            results += self._overlap(txns[at : at + _IN_FLIGHT])
        return results

    def _overlap(self, txns: Sequence[TxnRequest]) -> _Results:
        link, member = self._link, self._link.current()
        begun: _Parts = []
        requests: _Parts = []
        try:
            if len(txns) > 1:
                member.connect(CONNECT_S)
                metadata = link.metadata(member)
                for txn in txns:
                    # Each is on its way while the next one is built.
                    requests.append(_request(*txn))
                    begun.append(member.kv.Txn.future(requests[-1], timeout=link.timeout_s, metadata=metadata))
        except NotConnected:
            link.leave(member)
        except ValueError:
            # The connection was closed under it; the call below says so.
            if not link.closed:
                raise
            begun = []
        if not begun:
            requests += [_request(*txn) for txn in txns[len(requests) :]]
            answers = [link.call(_txn, one, repeatable=False) for one in requests]
            return [TxnResult(answer.succeeded, answer.header.revision) for answer in answers]
        results, errors = [], []
        for request, future in zip(requests, begun, strict=True):
            try:
                answer = self._answer(member, request, future)
                results.append(TxnResult(answer.succeeded, answer.header.revision))
            except StoreError as error:
                errors.append(error)
        if errors:
            raise errors[0]
        return results

    def _answer(self, member: Member, request: Any, future: Any) -> Any:
        try:
            return future.result()
        except grpc.FutureCancelledError as error:
            raise StoreUnavailable("the store was closed, the write may or may not have happened") from error
        except grpc.RpcError as error:
            found = verdict(error)
            if found is Verdict.REFUSED:
                raise refusal(error, member.address) from error
            if found is Verdict.SIGN_IN:
                self._link.forget_token()
            else:
                self._link.leave(member)
            if found is Verdict.UNKNOWN:
                raise self._link.unknown(error, member) from error
        return self._link.call(_txn, request, repeatable=False)

    def compact(self, revision: int) -> None:
        """See ``Store.compact``; a revision that is yet to come counts as the present one."""
        # etcd keeps the revision it is told, but not the deletions in it; a watch from the one after finds them all.
        try:
            self._compact(revision - 1)
        except YetToCome:
            present = self._link.call(lambda member: member.maintenance.Status, rpc.StatusRequest(), repeatable=True)
            self._compact(present.header.revision - 1)

    def _compact(self, revision: int) -> None:
        if revision < 1:
            return
        try:
            self._link.call(lambda member: member.kv.Compact, rpc.CompactionRequest(revision=revision), repeatable=True)
        except Compacted:
            return

    # --- leases ---

    def grant_lease(self, ttl_s: float) -> int:
        """See ``Store.grant_lease``. etcd counts whole seconds and gives at least 2."""
        request = rpc.LeaseGrantRequest(TTL=max(1, math.ceil(ttl_s)))
        answer = self._link.call(lambda member: member.lease.LeaseGrant, request, repeatable=True)
        return int(answer.ID)

    def keep_alive(self, lease: int) -> None:
        """See ``Store.keep_alive``."""
        answer = self._link.call(_keep_alive, rpc.LeaseKeepAliveRequest(ID=lease), repeatable=True)
        if answer.TTL <= 0:
            raise LeaseExpired(f"the lease {lease} is gone")

    def revoke_lease(self, lease: int) -> None:
        """See ``Store.revoke_lease``."""
        request = rpc.LeaseRevokeRequest(ID=lease)
        try:
            self._link.call(lambda member: member.lease.LeaseRevoke, request, repeatable=True)
        except LeaseExpired:
            return

    # --- the end ---

    def close(self) -> None:
        """See ``Store.close``."""
        with self._lock:
            watches, self._watches = [*self._watches], weakref.WeakSet()
        self._link.closed = True
        for watch in watches:
            watch.close()
        self._link.close()


_Results = list[TxnResult]
_Parts = list[Any]


def _range(member: Member) -> Any:
    return member.kv.Range


def _txn(member: Member) -> Any:
    return member.kv.Txn


def _keep_alive(member: Member) -> Any:
    def once(request: Any, **how: Any) -> Any:
        call = member.lease.LeaseKeepAlive(iter([request]), **how)
        try:
            answer = next(call, None)
        finally:
            call.cancel()
        if answer is None:
            raise NotConnected("it ended the stream without an answer")
        return answer

    return once


def _item(kv: Any) -> KeyValue:
    return KeyValue(kv.key.decode(), kv.value, kv.create_revision, kv.mod_revision)


def _request(compares: Sequence[Compare], puts: Sequence[Put], deletes: Sequence[str]) -> Any:
    # Setting fields of parts that are there costs a third of handing parts over, which are copied.
    request = rpc.TxnRequest()
    for one in compares:
        # What is not set is EQUAL.
        request.compare.add(target=_MOD, key=one.key.encode(), mod_revision=one.mod_revision)
    add = request.success.add
    for put in puts:
        write = add().request_put
        write.key, write.value = put.key.encode(), put.value
        if put.lease:
            write.lease = put.lease
    for key in deletes:
        add().request_delete_range.key = key.encode()
    return request
