"""What happened and why: one event for every decision, kept together with the change that it tells of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

EventLevel = Literal["info", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A sentence about one object. ``reason`` is a CamelCase word to filter by; ``time`` is seconds since the epoch."""

    time: float
    level: EventLevel
    reason: str
    kind: str
    name: str
    message: str
    node: str | None = None
    service: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventBatch:
    """The events of one commit under one key, so that telling costs one write however much was decided."""

    name: str
    events: tuple[Event, ...]
