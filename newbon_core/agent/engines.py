"""Follows one engine's events, so that what happens to a container is seen when it happens."""

from __future__ import annotations

import threading
from functools import partial

from newbon_core.agent.backoff import Backoff
from newbon_core.agent.core import Core
from newbon_core.agent.facts import Facts
from newbon_core.hooks import Runtime, RuntimeFailure


class EngineWatch:
    """``run`` blocks until ``stopping`` is set and the stream of events has ended."""

    def __init__(self, name: str, runtime: Runtime, core: Core, facts: Facts, stopping: threading.Event) -> None:
        self._name = name
        self._runtime = runtime
        self._core = core
        self._facts = facts
        self._stopping = stopping
        self._backoff = Backoff(first_s=0.1, most_s=1.0)

    def run(self) -> None:
        """Turn events into looks; when they end, the engine may be away."""
        executor = self._core.executor
        while not self._stopping.is_set():
            why = self._follow()
            if self._stopping.is_set():
                return
            self._core.post(partial(executor.engine_away, self._name, why))
            self._stopping.wait(self._backoff.next())

    def _follow(self) -> str:
        """Read events until they end; returns why they did."""
        try:
            for event in self._runtime.events():
                if event.container_id is None:
                    self._backoff.reset()
                    self._facts.ask_version(self._name)
                self._core.post(partial(self._core.executor.look, self._name, event.container_id))
        except RuntimeFailure as failure:
            return str(failure)
        return "its stream of events ended"
