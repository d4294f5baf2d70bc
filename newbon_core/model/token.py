"""Who may speak to the API. Only hashes are ever stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["admin", "viewer", "agent", "join"]
"""``agent`` speaks for its one node; ``join`` may only be exchanged for an agent token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """``name`` is the public part of ``<name>.<secret>``; ``digest`` is the secret's SHA-256 in hex."""

    name: str
    digest: str
    role: Role
    node: str | None = None
    description: str = ""
    created_at: float = 0.0
    expires_at: float | None = None
