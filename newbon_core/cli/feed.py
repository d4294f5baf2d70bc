"""A watch read in a thread, so that whoever shows it can also wake up by the clock."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable
from typing import Any, Protocol


class Watchable(Protocol):
    """What ``Client.watch`` returns."""

    def __iter__(self) -> Any: ...

    def close(self) -> None: ...


class Ended(Exception):
    """The watch came to its end."""


class Feed:
    """Events of one or several watches in the order they came; an exception in a watch is raised by ``next``."""

    def __init__(self, **watches: Watchable) -> None:
        self._queue: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._watches = watches
        self._failure: Exception | None = None
        for name, watch in watches.items():
            threading.Thread(target=self._read, args=(name, watch), daemon=True, name=f"watch {name}").start()

    def _read(self, name: str, watch: Iterable[Any]) -> None:
        try:
            for event in watch:
                self._queue.put((name, event))
            self._queue.put((name, Ended()))
        except Exception as error:  # noqa: BLE001 - carried to the thread that shows it
            self._queue.put((name, error))

    def next(self, timeout_s: float) -> tuple[str, Any] | None:
        """The next event with the name of its watch, or None after ``timeout_s``. Raises what the watch raised."""
        if self._failure is not None:
            raise self._failure
        try:
            name, event = self._queue.get(timeout=max(0.0, timeout_s))
        except queue.Empty:
            return None
        if isinstance(event, Exception):
            self._failure = event
            raise event
        return name, event

    def drain(self, timeout_s: float) -> list[tuple[str, Any]]:
        """All events that are there, waiting up to ``timeout_s`` for the first."""
        first = self.next(timeout_s)
        events = [first] if first is not None else []
        deadline = time.monotonic() + 0.05
        while events and time.monotonic() < deadline:
            try:
                more = self.next(0)
            except Exception:  # noqa: BLE001 - raised by the next call, when what came before it has been taken
                break
            if more is None:
                break
            events.append(more)
        return events

    def close(self) -> None:
        """End the watches."""
        for watch in self._watches.values():
            watch.close()
