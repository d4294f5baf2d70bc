"""Who may do what: every request needs a token, but for the few views that are marked open."""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from flask import Flask, Request, Response, g, request

from newbon_core.apiserver.context import context
from newbon_core.apiserver.errors import Problem
from newbon_core.model import Role, Token
from newbon_core.state import Cache
from newbon_core.state.auth import BadToken, Identity, expired, verify

log = logging.getLogger(__name__)
View = TypeVar("View", bound=Callable[..., Any])
Access = Role | Literal["open", "metrics"]

FAILURES = 10
WINDOW_S = 60.0
_REMEMBERED = 10_000
_ADDRESSES = 10_000
_ATTRIBUTE = "newbon_access"


def allow(*access: Access) -> Callable[[View], View]:
    """Mark a view with the roles that may use it; ``admin`` always may, and only it where a view has no mark."""

    def mark(view: View) -> View:
        setattr(view, _ATTRIBUTE, frozenset(access))
        return view

    return mark


class Authenticator:
    """Verifies tokens against the cache and slows down who guesses.

    An address with ``FAILURES`` bad tokens within ``WINDOW_S`` seconds is refused unheard, except with tokens that were
    good before: a neighbour behind the same address keeps working.
    """

    def __init__(self, cache: Cache, now: Callable[[], float]) -> None:
        self._cache = cache
        self._now = now
        self._good: OrderedDict[bytes, str] = OrderedDict()
        self._failures: OrderedDict[str, list[float]] = OrderedDict()
        self._lock = threading.Lock()
        self.failed = 0

    def identify(self, text: str | None, address: str) -> Identity:
        """The identity behind a token. Raises Problem 401 and 429."""
        now = self._now()
        if text is None:
            raise unauthorized("this needs a token: Authorization: Bearer <id>.<secret>")
        known = hashlib.sha256(text.encode("utf-8", "replace")).digest()
        if known not in self._good:
            self._slow_down(address, now)
        try:
            identity = verify(text, self._find, now)
        except BadToken as error:
            self._fail(address, now, str(error))
            with self._lock:
                self._good.pop(known, None)
            raise unauthorized("the token is not valid, or no longer") from None
        with self._lock:
            self._good[known] = identity.token
            while len(self._good) > _REMEMBERED:
                self._good.popitem(last=False)
        return identity

    def still_valid(self, identity: Identity) -> bool:
        """Whether the token still stands: long streams ask this now and then."""
        token = self._find(identity.token)
        return token is not None and not expired(token, self._now())

    def _find(self, name: str) -> Token | None:
        stored = self._cache.tokens.get(name)
        return stored.value if stored is not None else None

    def _slow_down(self, address: str, now: float) -> None:
        with self._lock:
            recent = [at for at in self._failures.get(address, ()) if now - at < WINDOW_S]
        if len(recent) >= FAILURES:
            wait = max(int(WINDOW_S - (now - recent[0])) + 1, 1)
            detail = f"{len(recent)} bad tokens from this address within {WINDOW_S:g} s; try again in {wait} s"
            raise Problem(429, detail, headers={"Retry-After": str(wait)})

    def _fail(self, address: str, now: float, why: str) -> None:
        with self._lock:
            self.failed += 1
            recent = [at for at in self._failures.pop(address, ()) if now - at < WINDOW_S]
            self._failures[address] = [*recent, now]
            while len(self._failures) > _ADDRESSES:
                self._failures.popitem(last=False)
        log.warning("bad token from %s: %s", address, why)


def install(app: Flask) -> None:
    """Check every request before its view runs, also those that match no view."""

    def check() -> None:
        view = app.view_functions.get(request.endpoint) if request.endpoint is not None else None
        access: frozenset[str] = getattr(view, _ATTRIBUTE, frozenset())
        here = context()
        if "open" in access or (here.open_metrics and "metrics" in access):
            return
        g.identity = identity = here.auth.identify(token_of(request), request.remote_addr or "unknown")
        allowed = access | {"admin"} | ({"viewer"} if "metrics" in access else set())
        if request.routing_exception is None and identity.role not in allowed:
            takes = " or ".join(sorted(allowed - {"metrics"}))
            raise Problem(403, f"a token of role {identity.role} may not do this; it takes {takes}")

    app.before_request(check)


def token_of(asked: Request) -> str | None:
    """The token of a request: as bearer, or as the password of basic authentication (browsers)."""
    scheme, _, rest = asked.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip() or None
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(rest, validate=True).decode().partition(":")[2] or None
        except (binascii.Error, UnicodeDecodeError):
            return None
    return None


def unauthorized(detail: str) -> Problem:
    """401, with the ways to log in; browsers are asked on the pages made for them."""
    ways = 'Bearer realm="newbon"'
    if request.path in ("/docs", "/openapi.json"):
        ways = f'Basic realm="newbon: any name, the token as password", {ways}'
    return Problem(401, detail, headers={"WWW-Authenticate": ways})


def identity() -> Identity:
    """Who makes this request."""
    found: Identity = g.identity
    return found


def require_node(name: str) -> None:
    """An agent speaks for its own node only. Raises Problem 403."""
    who = identity()
    if who.node != name:
        raise Problem(403, f"this token speaks for node {who.node}, not for {name[:100]}")


def secure(response: Response) -> Response:
    """Headers that every response gets."""
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
