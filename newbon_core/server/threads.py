"""The server's own threads: one feeds the cache, one steps the control loop. Neither ever dies of an error."""

from __future__ import annotations

import logging
import socket
import threading
import time

from newbon_core.apiserver.metrics import Metrics
from newbon_core.controllers.loop import ControlLoop
from newbon_core.model import Event
from newbon_core.state import Cache, Changes, commit_atomic
from newbon_core.state.cache import WATCH_PREFIX, ListenerFailed
from newbon_core.state.fleet import Fleet
from newbon_core.store.base import Store, StoreError, StoreUnavailable, Watch

log = logging.getLogger(__name__)
POLL_S = 1.0
LONGEST_BACKOFF_S = 5.0


class CacheFeeder:
    """Fills the cache from the store, in a thread, for ever. ``heard_at`` is of ``time.monotonic``."""

    def __init__(self, store: Store, cache: Cache) -> None:
        self._store = store
        self._cache = cache
        self._ending = threading.Event()
        self._watch: Watch | None = None
        self._thread = threading.Thread(target=self._run, name="newbon cache", daemon=True)
        self.heard_at = time.monotonic()

    def start(self) -> None:
        """Load everything, then follow. Raises StoreError when the store does not answer."""
        self._load()
        self._thread.start()

    def _load(self) -> None:
        items, revision = self._store.list(WATCH_PREFIX)
        self._cache.load(items, revision)
        self._watch = self._store.watch(WATCH_PREFIX, revision + 1)
        self.heard_at = time.monotonic()

    def _run(self) -> None:
        pause_s = 0.1
        while not self._ending.is_set():
            try:
                if self._watch is None:
                    self._load()
                self._follow()
                pause_s = 0.1
            except StoreError as error:
                if not self._ending.is_set():
                    log.warning("the watch of the store ended, listing anew: %s", error)
            except ListenerFailed as failed:
                log.error("changes were taken, but not by all: %s", failed)
            except Exception:
                log.exception("an error while taking changes from the store")
            if not self._ending.wait(pause_s):
                pause_s = min(pause_s * 2, LONGEST_BACKOFF_S)
                self._close_watch()

    def _follow(self) -> None:
        while not self._ending.is_set() and self._watch is not None:
            batch = self._watch.poll(POLL_S)
            self.heard_at = time.monotonic()
            if batch is not None:
                self._cache.apply(batch)

    def _close_watch(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def stop(self) -> None:
        """End the thread."""
        self._ending.set()
        watch = self._watch
        if watch is not None:
            watch.close()
        if self._thread.ident is not None:
            self._thread.join(5.0)


class LoopThread:
    """Steps the control loop when something changed or its time has come; a step that fails is told and repeated."""

    def __init__(self, loop: ControlLoop, cache: Cache, fleet: Fleet, store: Store, metrics: Metrics) -> None:
        self._loop = loop
        self._store = store
        self._metrics = metrics
        self._woken = threading.Event()
        self._ending = False
        self._told_at = float("-inf")
        self._thread = threading.Thread(target=self._run, name="newbon control", daemon=True)
        self._unsubscribe = cache.subscribe(lambda changes, revision: self._woken.set())  # noqa: ARG005 - only a wake-up
        fleet.wake = self._woken.set
        self.failing: str | None = None

    def start(self) -> None:
        """Begin; the first step takes everything."""
        self._thread.start()

    def _run(self) -> None:
        backoff_s = 0.1
        while not self._ending:
            self._woken.clear()
            try:
                with self._metrics.step_seconds.time():
                    wake_at = self._loop.step(time.time())
            except Exception as error:
                log.exception("a step of the control loop failed; trying again in %.1f s", backoff_s)
                self._metrics.step_errors.inc()
                self._tell(error)
                time.sleep(backoff_s)
                backoff_s = min(backoff_s * 2, LONGEST_BACKOFF_S)
                continue
            self.failing, backoff_s = None, 0.1
            if not self._ending:
                self._woken.wait(max(wake_at - time.time(), 0.0) if wake_at is not None else None)

    def _tell(self, error: Exception) -> None:
        self.failing = f"the control loop fails: {type(error).__name__}: {error}"
        if time.monotonic() - self._told_at < 60.0:
            return
        self._told_at = time.monotonic()
        changes = Changes()
        changes.events.append(
            Event(
                time=time.time(),
                level="error",
                reason="ControlLoopFailed",
                kind="Server",
                name=socket.gethostname(),
                message=self.failing,
            )
        )
        try:
            commit_atomic(self._store, changes)
        except StoreUnavailable as unavailable:
            log.warning("the failure could not be written down as an event: %s", unavailable)

    def stop(self) -> None:
        """Let the present step end."""
        self._ending = True
        self._unsubscribe()
        self._woken.set()
        if self._thread.ident is not None:
            self._thread.join(10.0)
