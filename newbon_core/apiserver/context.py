"""What every request handler works with: one object, made by the main and kept in the Flask app."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from flask import current_app

from newbon_core.apiserver.feed import ChangeFeed
from newbon_core.apiserver.streams import Streams
from newbon_core.hooks.types import PlacementRequest
from newbon_core.state import Cache
from newbon_core.state.fleet import Fleet
from newbon_core.store.base import Store

if TYPE_CHECKING:
    from newbon_core.apiserver.auth import Authenticator
    from newbon_core.apiserver.metrics import Metrics

EXTENSION = "newbon"


class Planner(Protocol):
    """The part of the scheduler that answers questions; nothing of it reserves anything."""

    def place(self, request: PlacementRequest, names: Sequence[str] | None = None) -> Any: ...

    def explain(self, request: PlacementRequest) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Sizes in bytes and counts that one client may ask for."""

    body_bytes: int = 1024 * 1024
    report_bytes: int = 8 * 1024 * 1024
    documents_bytes: int = 1024 * 1024
    watches: int = 1000


@dataclass(kw_only=True)
class Context:
    """See the module's docstring. ``not_ready`` tells why the server cannot do its work, nothing when it can."""

    store: Store
    cache: Cache
    host: Any
    scheduler: Planner
    fleet: Fleet
    feed: ChangeFeed
    streams: Streams
    auth: Authenticator
    metrics: Metrics
    now: Callable[[], float]
    not_ready: Callable[[], list[str]] = list
    open_metrics: bool = False
    version: str = "0"
    limits: Limits = field(default_factory=Limits)


def context() -> Context:
    """The context of the app that handles this request."""
    found: Context = current_app.extensions[EXTENSION]
    return found
