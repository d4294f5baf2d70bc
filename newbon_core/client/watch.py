"""Watching a list of the API: what is there, then every change, across reconnects."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, cast

from newbon_core.client.errors import ApiProblem, ServerUnreachable
from newbon_core.client.sse import read_events
from newbon_core.client.transport import BodyStream, Transport
from newbon_core.client.views import Json

EventName = Literal["put", "deleted", "reset", "synced"]
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """``put``: ``object`` is there or has changed. ``deleted``: ``object["name"]`` is gone.

    ``reset``: forget everything, what is there follows as puts. ``synced``: what was there is now complete.
    ``revision`` is where a new watch may resume after this event; 0 while what was there is not complete.
    """

    event: EventName
    object: Json
    revision: int


class Watch:
    """An iterator of WatchEvent that reconnects by itself and misses nothing; ``close`` ends it from any thread.

    Raises ApiProblem when the server refuses, and ServerUnreachable once it was away for ``give_up_s`` (None: never).
    """

    def __init__(
        self,
        transport: Transport,
        path: str,
        revision: int | None,
        params: Mapping[str, str],
        give_up_s: float | None,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        self._transport = transport
        self._path = path
        self._params = dict(params)
        self._revision = revision
        self._give_up_s = give_up_s
        self._closed = threading.Event()
        self._pause = pause or self._closed.wait
        self._body: BodyStream | None = None

    def __iter__(self) -> Iterator[WatchEvent]:
        away_s, pause_s = 0.0, _FIRST_PAUSE_S
        while not self._closed.is_set():
            try:
                for event in self._connect():
                    away_s, pause_s = 0.0, _FIRST_PAUSE_S
                    yield event
            except ServerUnreachable:
                if self._give_up_s is not None and away_s >= self._give_up_s:
                    raise
            except ApiProblem as problem:
                if problem.status not in (429, 503) or (self._give_up_s is not None and away_s >= self._give_up_s):
                    raise
            if not self._closed.is_set():
                self._pause(pause_s)
                away_s += pause_s
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def close(self) -> None:
        """End the watch; a thread that iterates it gets the end."""
        self._closed.set()
        body = self._body
        if body is not None:
            body.close()

    def _connect(self) -> Iterator[WatchEvent]:
        params = self._params | {"watch": "true"}
        if self._revision is not None:
            params["revision"] = str(self._revision)
        body = self._transport.open("GET", self._path, params=params, headers={"Accept": "text/event-stream"})
        self._body = body
        if self._closed.is_set():
            body.close()
            return
        for event in read_events(body):
            if event.event not in ("put", "deleted", "reset", "synced"):
                continue
            if event.event == "reset":
                self._revision = None
            # Only events that complete a state have an id: a list that was cut off before is begun anew.
            known = int(event.id) if event.id.isdigit() else self._revision
            yield WatchEvent(cast(EventName, event.event), json.loads(event.data), known or 0)
            self._revision = known
