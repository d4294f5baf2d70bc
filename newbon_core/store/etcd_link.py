"""Calls to one of several etcd members: who answers, who signs in, what is repeated elsewhere and what is not."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from newbon_core.store.base import StoreUnavailable
from newbon_core.store.etcd_errors import Verdict, refusal, verdict
from newbon_core.store.etcd_stubs import load_etcd3

etcd3 = load_etcd3()
rpc = etcd3.etcdrpc

CONNECT_S = 2.0
READ_S = 2.5
_PAUSE_S = 0.1
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.use_local_subchannel_pool", 1),
]

Metadata = tuple[tuple[str, str], ...]
Method = Callable[["Member"], Any]
"""Picks the callable of a stub: ``lambda member: member.kv.Range``."""


@dataclass(frozen=True, slots=True)
class Security:
    """TLS files and credentials; ``password`` is never part of a text."""

    ca_cert: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    username: str | None = None
    password: str | None = None

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            raise StoreUnavailable("etcd: a client's certificate needs its key, and the key its certificate")
        if (self.username is None) != (self.password is None):
            raise StoreUnavailable("etcd: a user name needs a password, and a password a user name")
        for file in (self.ca_cert, self.cert, self.key):
            if file is not None and not file.is_file():
                raise StoreUnavailable(f"etcd: there is no file {file}")

    def __repr__(self) -> str:
        return f"Security(username={self.username!r})"


def split_endpoint(endpoint: str) -> tuple[str, str, bool]:
    """Host, port and whether it is TLS of ``host:port``, ``http://host:port`` or ``https://host:port``."""
    scheme, found, address = endpoint.rpartition("://")
    host, colon, port = address.rstrip("/").rpartition(":")
    if (found and scheme not in ("http", "https")) or not colon or not host or not port.isdigit():
        raise StoreUnavailable(f"{endpoint!r} is no endpoint of etcd: expected host:port, like '127.0.0.1:2379'")
    return host, port, scheme == "https"


class NotConnected(Exception):
    """The member was not reached in time; nothing was asked of it."""


class Member:
    """One endpoint: its connection (etcd3's) and its stubs."""

    def __init__(self, endpoint: str, security: Security) -> None:
        host, port, tls = split_endpoint(endpoint)
        self.address = f"{host}:{port}"
        ca_cert = security.ca_cert
        if ca_cert is None and (tls or security.cert is not None):
            found = ssl.get_default_verify_paths().cafile
            if found is None:
                raise StoreUnavailable(f"etcd at {self.address} is reached by TLS: set store.ca_cert")
            ca_cert = Path(found)
        self._client = etcd3.Etcd3Client(
            host,
            int(port),
            ca_cert=str(ca_cert) if ca_cert else None,
            cert_key=str(security.key) if security.key else None,
            cert_cert=str(security.cert) if security.cert else None,
            grpc_options=_OPTIONS,
        )
        self.kv = self._client.kvstub
        self.lease = self._client.leasestub
        self.maintenance = self._client.maintenancestub
        self.auth = rpc.AuthStub(self._client.channel)
        self.watch = rpc.WatchStub(self._client.channel)
        self.connected = False

    def connect(self, timeout_s: float) -> None:
        """Make sure that this member answers and has a leader, before anything is asked of it that is not repeatable.

        Raises NotConnected with the reason.
        """
        if self.connected:
            return
        try:
            status = self.maintenance.Status(rpc.StatusRequest(), timeout=timeout_s)
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise NotConnected(error.details() or "no answer") from error
            # It answers, if only to say that it does not tell this to everybody.
        else:
            if not status.leader:
                raise NotConnected("it has no leader")
        self.connected = True

    def close(self) -> None:
        """Close the connection; calls under way end."""
        self._client.close()


class Link:
    """Calls to whichever member answers. Safe to use from many threads."""

    def __init__(self, endpoints: Sequence[str], security: Security, timeout_s: float) -> None:
        if not endpoints:
            raise StoreUnavailable("etcd: no endpoint is given")
        self.members = [Member(endpoint, security) for endpoint in endpoints]
        self.timeout_s = timeout_s
        self.closed = False
        self._security = security
        self._current = 0
        self._lock = threading.Lock()
        self._token: str | None = None

    # --- members ---

    def current(self) -> Member:
        """Who is asked first."""
        return self.members[self._current]

    def leave(self, member: Member) -> None:
        """Ask another from now on, because this one does not answer."""
        member.connected = False
        with self._lock:
            if self.members[self._current] is member:
                self._current = (self._current + 1) % len(self.members)

    # --- authentication ---

    def metadata(self, member: Member) -> Metadata:
        """What every call carries; signs in where that is needed. Raises NotConnected, or what refused it."""
        if self._security.username is None:
            return ()
        token = self._token
        if token is None:
            with self._lock:
                if self._token is None:
                    self._token = self._sign_in(member)
                token = self._token
        return (("token", token),) if token else ()

    def _sign_in(self, member: Member) -> str:
        request = rpc.AuthenticateRequest(name=self._security.username, password=self._security.password)
        try:
            token: str = member.auth.Authenticate(request, timeout=self.timeout_s).token
        except grpc.RpcError as error:
            if "authentication is not enabled" in (error.details() or ""):
                return ""
            if verdict(error) is Verdict.REFUSED:
                raise refusal(error, member.address) from error
            raise NotConnected(f"signing in: {error.details()}") from error
        return token

    def forget_token(self) -> None:
        """Sign in anew with the next call."""
        self._token = None

    # --- calls ---

    def call(self, method: Method, request: Any, *, repeatable: bool) -> Any:
        """The answer of the first member that gives one.

        What is not ``repeatable`` is repeated only after an error that says that it was not done.
        Raises StoreUnavailable, or what etcd refused it with.
        """
        deadline = time.monotonic() + self.timeout_s
        last = "no member can be reached"
        failed = 0
        while True:
            left = deadline - time.monotonic()
            if self.closed:
                raise StoreUnavailable("the store was closed")
            if left <= 0:
                raise StoreUnavailable(f"{self._who()} did not answer within {self.timeout_s:g} s: {last}")
            member = self.current()
            try:
                return self._attempt(member, method, request, left, repeatable)
            except grpc.RpcError as error:
                last = f"{member.address}: {error.details() or error.code().name}"
                self._judge(error, member, repeatable)
            except NotConnected as error:
                last = f"{member.address}: {error}"
                self.leave(member)
            except ValueError:
                # grpc's way to say that the connection was closed under it.
                if not self.closed:
                    raise
            failed += 1
            if failed % len(self.members) == 0:
                time.sleep(min(_PAUSE_S, max(0.0, deadline - time.monotonic())))

    def _attempt(self, member: Member, method: Method, request: Any, left_s: float, repeatable: bool) -> Any:
        member.connect(min(left_s, CONNECT_S))
        # Another member is worth trying soon only where trying twice does no harm.
        several = repeatable and len(self.members) > 1
        timeout_s = min(left_s, READ_S) if several else max(left_s, READ_S)
        return method(member)(request, timeout=timeout_s, metadata=self.metadata(member))

    def _judge(self, error: grpc.RpcError, member: Member, repeatable: bool) -> None:
        """Return where the call may be repeated, else raise."""
        if self.closed:
            raise StoreUnavailable("the store was closed") from error
        found = verdict(error)
        if found is Verdict.SIGN_IN and self._security.username is not None:
            self.forget_token()
        elif found in (Verdict.SIGN_IN, Verdict.REFUSED):
            raise refusal(error, member.address) from error
        else:
            self.leave(member)
            if found is Verdict.UNKNOWN and not repeatable:
                raise self.unknown(error, member) from error

    def unknown(self, error: grpc.RpcError, member: Member) -> StoreUnavailable:
        """The error for a transaction of which nobody knows whether it happened."""
        reason = error.details() or error.code().name
        return StoreUnavailable(
            f"etcd at {member.address} did not answer, the write may or may not have happened: {reason}"
        )

    def _who(self) -> str:
        return f"etcd at {', '.join(member.address for member in self.members)}"

    def close(self) -> None:
        """Close every connection."""
        self.closed = True
        for member in self.members:
            member.close()
