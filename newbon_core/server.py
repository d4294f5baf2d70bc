"""The server's main: opens the store, feeds the cache, runs the control loop, serves the API. Only wiring."""

from __future__ import annotations

import errno
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from newbon_core import __version__
from newbon_core.apiserver.app import create_app
from newbon_core.apiserver.auth import Authenticator
from newbon_core.apiserver.context import Context
from newbon_core.apiserver.feed import ChangeFeed
from newbon_core.apiserver.metrics import Metrics
from newbon_core.apiserver.serving import HttpServer
from newbon_core.apiserver.streams import Streams
from newbon_core.config import Site, split_listen
from newbon_core.controllers.loop import ControlLoop
from newbon_core.controllers.settings import ControlSettings
from newbon_core.hooks.host import PluginHost
from newbon_core.model import Event, Token
from newbon_core.scheduler.scheduler import Scheduler
from newbon_core.state import Cache, Changes, commit_atomic, commit_units
from newbon_core.state.auth import BadToken, expired, new_token, verify
from newbon_core.state.cache import WATCH_PREFIX
from newbon_core.state.changes import finish_journals
from newbon_core.state.fleet import Fleet
from newbon_core.store.base import Store, StoreError, StoreUnavailable, Watch
from newbon_core.store.open import open_store

log = logging.getLogger(__name__)

ADMIN_TOKEN_FILE = "admin.token"
CHECK_S = 2.0
SILENT_S = 10.0
"""A store that did not answer, or a watch that was not polled, for so long makes the server not ready."""
POLL_S = 1.0
COMPACT_S = 300.0
EXPIRED_TOKENS_S = 600.0
LONGEST_BACKOFF_S = 5.0


class ServerError(Exception):
    """The server could not start; the text is a sentence for a person."""


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
            except Exception:
                # A listener failed: the cache itself took the change, and the list below repeats nothing of it.
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
        self._thread.join(10.0)


class RunningServer:
    """A server in this process: ``url`` to reach it, ``admin_token`` to use it, ``stop()`` to end it."""

    def __init__(self, site: Site, host: PluginHost, store: Store, *, now: Callable[[], float] = time.time) -> None:
        self._site = site
        self._store = store
        self._now = now
        self._stopped = False
        self._compact_to = 0
        self.host = host
        self.cache = Cache()
        self.fleet = Fleet(store, self.cache, site.nodes)
        self.scheduler = Scheduler(host)
        self.metrics = Metrics(self.cache, host)
        self.feed = ChangeFeed(self.cache)
        self.streams = Streams(self.feed.send, self.feed.connected)
        self.feeder = CacheFeeder(store, self.cache)
        self.loop = LoopThread(
            ControlLoop(store, self.cache, self.scheduler, self.fleet, ControlSettings.of(site.nodes), _new_uid),
            self.cache,
            self.fleet,
            store,
            self.metrics,
        )
        self._answered_at = time.monotonic()
        self.context = Context(
            store=store,
            cache=self.cache,
            host=host,
            scheduler=self.scheduler,
            fleet=self.fleet,
            feed=self.feed,
            streams=self.streams,
            auth=Authenticator(self.cache, now),
            metrics=self.metrics,
            now=now,
            not_ready=self.not_ready,
            version=__version__,
        )
        listen_host, port = split_listen(site.listen)
        self.http = HttpServer(create_app(self.context), listen_host, port, cert=site.tls_cert, key=site.tls_key)
        self._timers = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(4)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        self.admin_token = ""

    @property
    def url(self) -> str:
        """Where a client on this machine finds it."""
        return self.http.url

    def start(self) -> None:
        """Everything in order: what the API shows is true before the first request is taken."""
        self._finish_what_was_begun()
        self.feeder.start()
        self.admin_token = ensure_admin_token(self._site.data_dir, self._store, self.cache, self._now())
        self.loop.start()
        for job, seconds in (
            (self._sweep, 1.0),
            (self._check_store, CHECK_S),
            (self._compact, COMPACT_S),
            (self._drop_expired, EXPIRED_TOKENS_S),
            (self.http.trim, 30.0),
        ):
            self._timers.add_job(job, "interval", seconds=seconds)
        self._timers.start()
        self.http.start()

    def _finish_what_was_begun(self) -> None:
        finished = finish_journals(self._store)
        if finished:
            log.warning("finished %d changes that a crash had left half done", finished)

    def not_ready(self) -> list[str]:
        """Why the server cannot do its work now; nothing when it can."""
        now = time.monotonic()
        reasons = []
        if now - self._answered_at > SILENT_S:
            reasons.append(f"the store has not answered for {now - self._answered_at:.0f} s")
        if now - self.feeder.heard_at > SILENT_S:
            reasons.append(f"nothing was heard from the store's watch for {now - self.feeder.heard_at:.0f} s")
        if self.loop.failing is not None:
            reasons.append(self.loop.failing)
        return reasons

    def make_join_token(self, life_s: float = 600.0) -> str:
        """A join token that ends by itself: for an agent that this process starts."""
        now = self._now()
        made = new_token("join", now, description="made by the server itself", expires_at=now + life_s)
        self._write_token(made.token)
        return made.text

    def _write_token(self, token: Token) -> None:
        changes = Changes()
        changes.create(token)
        self.cache.wait_for(commit_atomic(self._store, changes).revision, 5.0)

    # --- periodic ---

    def _sweep(self) -> None:
        self.streams.sweep(self._now())
        self.metrics.bad_tokens.set(self.context.auth.failed)
        self.metrics.watch_lag.set(time.monotonic() - self.feeder.heard_at)

    def _check_store(self) -> None:
        began = time.monotonic()
        try:
            self._store.get(f"{WATCH_PREFIX}control/alive")
        except StoreError as error:
            log.warning("the store does not answer: %s", error)
            return
        self._answered_at = time.monotonic()
        self.metrics.store_seconds.observe(self._answered_at - began)

    def _compact(self) -> None:
        """Keep five to ten minutes of the store's history."""
        try:
            if self._compact_to:
                self._store.compact(self._compact_to)
        except StoreError as error:
            log.warning("the store's history could not be cut: %s", error)
        self._compact_to = self.cache.revision

    def _drop_expired(self) -> None:
        units = []
        for stored in list(self.cache.tokens.values()):
            if expired(stored.value, self._now() - EXPIRED_TOKENS_S):
                unit = Changes()
                unit.delete(Token, stored.value.name, stored)
                units.append(unit)
        try:
            commit_units(self._store, units)
        except StoreUnavailable as error:
            log.warning("expired tokens could not be deleted: %s", error)

    def stop(self) -> None:
        """End streams, finish requests, and close the store. Calling it again does nothing."""
        if self._stopped:
            return
        self._stopped = True
        self.streams.close(self._now())
        self.feed.close()
        self.http.stop()
        if self._timers.running:
            self._timers.shutdown(wait=False)
        self.loop.stop()
        self.feeder.stop()
        self._store.close()


def run_server(site: Site, host: PluginHost | None = None) -> RunningServer:
    """Start a server in threads of this process. Raises ServerError and SiteError."""
    host = host or PluginHost.discover(site.plugins)
    try:
        site.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        store = open_store(site.store, site.data_dir)
    except (OSError, StoreError) as error:
        raise ServerError(f"the store cannot be opened: {error}") from error
    try:
        running = RunningServer(site, host, store)
        running.start()
    except OSError as error:
        store.close()
        why = "another program listens there" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
        raise ServerError(f"cannot serve at {site.listen}: {why}") from error
    except StoreError as error:
        store.close()
        raise ServerError(f"the store does not answer: {error}") from error
    # Threads hand over to each other all the time here; the usual 5 ms would be most of an order's way to its agent.
    sys.setswitchinterval(0.001)
    log.info("listening at %s", running.url)
    return running


def main(site: Site, host: PluginHost | None = None) -> int:
    """Run a server until SIGTERM or SIGINT; returns the exit code. Logging is the caller's to set up."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    host = host or PluginHost.discover(site.plugins)
    for warning in host.warnings:
        log.warning("%s", warning)
    running = run_server(site, host)
    # A wait without a timeout would keep Python from running the signal's handler on some platforms.
    while not stopping.wait(3600.0):
        pass
    running.stop()
    return 0


def ensure_admin_token(data_dir: Path, store: Store, cache: Cache, now: float) -> str:
    """The token in ``<data_dir>/admin.token`` (mode 0600), made where there is none.

    A file whose token was deleted is left alone as long as another admin token exists: somebody meant it.
    """
    path = data_dir / ADMIN_TOKEN_FILE
    admins = [one.value for one in list(cache.tokens.values()) if one.value.role == "admin"]
    try:
        text = path.read_text(encoding="ascii").strip()
    except (FileNotFoundError, UnicodeDecodeError):
        text = ""
    if text:
        by_name = {token.name: token for token in admins}
        try:
            verify(text, by_name.get, now)
        except BadToken as error:
            if any(not expired(token, now) for token in admins):
                log.warning("the token in %s is not valid: %s; other admin tokens exist", path, error)
                return text
        else:
            return text
    made = new_token("admin", now, description=f"first admin of {socket.gethostname()}")
    _write_private(path, made.text + "\n")
    changes = Changes()
    changes.create(made.token)
    result = commit_atomic(store, changes)
    cache.wait_for(result.revision, 5.0)
    log.info("made the first admin token: %s", path)
    return made.text


def _write_private(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)


def _new_uid() -> str:
    return secrets.token_hex(8)
