"""What etcd's and gRPC's errors mean for the one question that counts: did it happen, and may it be repeated?"""

from __future__ import annotations

from enum import Enum, auto

import grpc

from newbon_core.store.base import (
    Compacted,
    LeaseExpired,
    StoreError,
    StoreUnavailable,
    TransactionTooLarge,
)


class YetToCome(StoreUnavailable):
    """A revision that etcd has not reached."""


class Verdict(Enum):
    """What may be done after an error."""

    NOT_DONE = auto()
    """It certainly did not happen: repeat it, at another member."""

    SIGN_IN = auto()
    """It certainly did not happen, because the token is no longer good: sign in and repeat it."""

    REFUSED = auto()
    """It certainly did not happen and never will."""

    UNKNOWN = auto()
    """It may have happened."""


# Texts of gRPC itself for calls that were never sent, and of etcd for what it refused before proposing it to raft.
_NEVER_SENT = (
    "failed to connect to all addresses",
    "connections to all backends failing",
    "empty address list",
    "DNS resolution failed",
    "etcdserver: no leader",
    "etcdserver: too many requests",
    "etcdserver: rpc not supported for learner",
    "etcdserver: not capable",
)
_SIGN_IN = ("invalid auth token", "user name is empty", "revision in header is old", "revision of auth store is old")
_TOO_LARGE = ("too many operations", "request is too large", "larger than max")


def verdict(error: grpc.RpcError) -> Verdict:
    """What may be done after this error of a transaction (a read may always be repeated)."""
    code, details = error.code(), error.details() or ""
    if any(text in details for text in _SIGN_IN):
        return Verdict.SIGN_IN
    if any(text in details for text in _NEVER_SENT):
        return Verdict.NOT_DONE
    if code in (
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.UNIMPLEMENTED,
    ):
        return Verdict.REFUSED
    return Verdict.UNKNOWN


def refusal(error: grpc.RpcError, address: str) -> StoreError:
    """The store's error for one that will not go away by repeating."""
    code, details = error.code(), (error.details() or "").removeprefix("etcdserver: ")
    if "required revision has been compacted" in details:
        return Compacted(f"etcd at {address}: {details}")
    if "future revision" in details:
        return YetToCome(f"etcd at {address}: {details}")
    if "lease not found" in details:
        return LeaseExpired(f"etcd at {address}: {details}")
    if any(text in details for text in _TOO_LARGE):
        return TransactionTooLarge(f"etcd at {address}: {details}")
    if "database space exceeded" in details:
        return StoreUnavailable(
            f"etcd at {address} has used up its space (--quota-backend-bytes): compact and defragment it, then "
            "'etcdctl alarm disarm'; nothing was written"
        )
    if "user name is empty" in details:
        return StoreUnavailable(f"etcd at {address} wants a user name and a password: set store.username")
    if "invalid user ID or password" in details:
        return StoreUnavailable(f"etcd at {address} does not accept this user name and password")
    if code is grpc.StatusCode.PERMISSION_DENIED:
        return StoreUnavailable(f"etcd at {address} does not permit this user to do that")
    return StoreUnavailable(f"etcd at {address}: {details or code.name}")
