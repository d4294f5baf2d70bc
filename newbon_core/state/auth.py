"""Tokens: ``<id>.<secret>``. Only the secret's SHA-256 is ever stored.

The secret is 256 random bits, so a plain hash is enough: there is nothing to guess that a slow one would protect.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from newbon_core.model import Role, Token

_MAX_TOKEN = 200


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token and, once, its whole text ``<id>.<secret>``."""

    token: Token
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who speaks: the token's name, what it may do, and for agents the one node it speaks for."""

    token: str
    role: Role
    node: str | None = None
    description: str = ""

    @property
    def who(self) -> str:
        """How this one is named in events and as an author."""
        return self.description or f"{self.role} {self.token}"


class BadToken(Exception):
    """The token is not valid; the text says why, for the server's log only, and never holds the token."""


def new_token(
    role: Role,
    now: float,
    *,
    node: str | None = None,
    description: str = "",
    expires_at: float | None = None,
    new_text: Callable[[int], str] = secrets.token_hex,
) -> NewToken:
    """A token with a fresh secret. ``node`` is for role agent, and then needed (ValueError)."""
    if (role == "agent") != (node is not None):
        raise ValueError("a token of role agent needs a node, and no other may have one")
    name, secret = new_text(6), new_text(32)
    token = Token(
        name=name,
        digest=digest(secret),
        role=role,
        node=node,
        description=description,
        created_at=now,
        expires_at=expires_at,
    )
    return NewToken(token, f"{name}.{secret}")


def digest(secret: str) -> str:
    """The secret's SHA-256 in hex."""
    return hashlib.sha256(secret.encode()).hexdigest()


def verify(text: str, find: Callable[[str], Token | None], now: float) -> Identity:
    """The identity behind a token's text; compares in constant time. Raises BadToken."""
    name, dot, secret = text.partition(".")
    if not dot or not name or not secret or len(text) > _MAX_TOKEN:
        raise BadToken("it is not of the form <id>.<secret>")
    token = find(name)
    # The comparison is made for an unknown id too, so that the time taken does not tell which ids exist.
    matches = hmac.compare_digest(digest(secret), token.digest if token is not None else digest(""))
    if token is None:
        raise BadToken(f"there is no token {name[:20]!r}")
    if not matches:
        raise BadToken(f"the secret of token {name!r} is wrong")
    if expired(token, now):
        raise BadToken(f"token {name!r} has expired")
    return Identity(token.name, token.role, token.node, token.description)


def expired(token: Token, now: float) -> bool:
    """True from ``expires_at`` on."""
    return token.expires_at is not None and now >= token.expires_at
