"""What an executor knows of one engine: whether it answers, and when it is to be asked again."""

from __future__ import annotations

import math

from newbon_core.agent.actions import ListContainers, Ping
from newbon_core.agent.plan import ExecutorSettings


class EngineState:
    """``error`` None and ``listed`` is an engine that may be used.

    An engine that hangs takes every request and answers none, so it is pinged when nothing was heard of it for a while.
    """

    def __init__(self, name: str, settings: ExecutorSettings) -> None:
        self.name = name
        self.listed = False
        self.error: str | None = None
        self.listing = False
        self.list_at = 0.0
        self._settings = settings
        self._listed_at = 0.0
        self._pinged_at: float | None = None
        self._heard_at: float | None = None

    @property
    def usable(self) -> bool:
        """True where it answers and its containers are known."""
        return self.listed and self.error is None

    def list_soon(self) -> None:
        """List it, but not more often than once in ``list_pause_s``."""
        self.list_at = min(self.list_at, self._listed_at + self._settings.list_pause_s)

    def heard(self, now: float) -> None:
        """It has answered something."""
        self._heard_at = now

    def ping_ended(self, now: float, *, well: bool) -> None:
        """Answered or failed. Whether the engine may be used again is for a listing to say."""
        self._pinged_at = None
        self._heard_at = now
        if self.error is not None or not well:
            self.list_at = min(self.list_at, now)

    def hung_for(self, now: float) -> float | None:
        """Seconds for which it answers nothing, once they are too many and not known yet; else None."""
        if self._pinged_at is None or self.error is not None:
            return None
        silent_s = now - max(self._pinged_at, self._heard_at or 0.0)
        return silent_s if silent_s >= self._settings.hung_s else None

    def requests(self, now: float, actions_ended: int) -> list[ListContainers | Ping]:
        """What to ask it now (see ListContainers.asked)."""
        asked: list[ListContainers | Ping] = []
        if not self.listing and self.list_at <= now:
            self.listing = True
            self._listed_at = now
            # Whoever wants one from now on means another: this one may be too old for him.
            self.list_at = math.inf
            asked.append(ListContainers(self.name, actions_ended))
        if self._heard_at is None:
            self._heard_at = now
        if self._pinged_at is None and self._heard_at + self._settings.ping_s <= now:
            self._pinged_at = now
            asked.append(Ping(self.name))
        return asked

    def wake_at(self) -> float | None:
        """When it is to be looked at next though nothing happens."""
        times = [] if self.listing else [self.list_at]
        heard_at = self._heard_at or 0.0
        if self._pinged_at is None:
            times.append(heard_at + self._settings.ping_s)
        elif self.error is None:
            times.append(max(self._pinged_at, heard_at) + self._settings.hung_s)
        return min(times, default=None)
