"""The server's main: opens the store, feeds the cache, runs the control loop, serves the API. Only wiring."""

from __future__ import annotations

import errno
import gc
import logging
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable

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
from newbon_core.model import Token
from newbon_core.scheduler.scheduler import Scheduler
from newbon_core.schema.plugins import unenforced
from newbon_core.server.threads import CacheFeeder, LoopThread
from newbon_core.server.tokens import ensure_admin_token
from newbon_core.state import Cache, Changes, commit_atomic, commit_units
from newbon_core.state.auth import expired, new_token
from newbon_core.state.changes import finish_journals, unfinished_journals
from newbon_core.state.codec import ROOT
from newbon_core.state.fleet import Fleet
from newbon_core.store.base import Put, Store, StoreError, StoreUnavailable
from newbon_core.store.open import open_store

log = logging.getLogger(__name__)

CHECK_S = 2.0
SILENT_S = 10.0
"""A store that did not answer, or a watch that was not polled, for so long makes the server not ready."""
OUTSTANDING_S = 3.0
"""A check of the store that takes longer than this makes the server not ready."""
PROBE = f"{ROOT}control/probe"
PROBE_S = 10.0
"""So often a small write finds out whether the store takes any; while it does not, every check does."""
_PROBE_VALUE = bytes(8192)
COMPACT_S = 300.0
JOURNALS_S = 15.0
"""A change that is half done for so long is carried out by whoever sees it."""
EXPIRED_TOKENS_S = 600.0
_YOUNG = 20_000
"""Objects made between two runs of the garbage collector; almost nothing here is in cycles."""


class ServerError(Exception):
    """The server could not start; the text is a sentence for a person."""


class RunningServer:
    """A server in this process: ``url`` to reach it, ``admin_token`` to use it, ``stop()`` to end it."""

    def __init__(self, site: Site, host: PluginHost, store: Store, *, now: Callable[[], float] = time.time) -> None:
        self._site = site
        self._store = store
        self._now = now
        self._stopped = False
        self._compact_to = 0
        self._left_half_done: set[str] = set()
        self.host = host
        self.cache = Cache()
        self.fleet = Fleet(store, self.cache, site.nodes)
        self.scheduler = Scheduler(host)
        self.metrics = Metrics(self.cache, host)
        self.feed = ChangeFeed(self.cache)
        self.streams = Streams(self.feed.send, self.feed.connected)
        self.feeder = CacheFeeder(store, self.cache)
        self.loop = LoopThread(
            ControlLoop(
                store,
                self.cache,
                self.scheduler,
                self.fleet,
                ControlSettings.of(site.nodes),
                _new_uid,
                held=lambda service: unenforced(service, host),
            ),
            self.cache,
            self.fleet,
            store,
            self.metrics,
        )
        self._answered_at = time.monotonic()
        self._asked_at: float | None = None
        self._refused = ""
        self._probed_at = self._answered_at
        self._ending = threading.Event()
        self._checker = threading.Thread(target=self._keep_checking, name="newbon store check", daemon=True)
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
            (self._finish_what_an_outage_left, JOURNALS_S),
            (self._compact, COMPACT_S),
            (self._drop_expired, EXPIRED_TOKENS_S),
            (self.http.trim, 30.0),
        ):
            self._timers.add_job(job, "interval", seconds=seconds)
        self._timers.start()
        self._checker.start()
        self.http.start()

    def _finish_what_was_begun(self) -> None:
        finished = finish_journals(self._store)
        if finished:
            log.warning("finished %d changes that a crash had left half done", finished)

    def not_ready(self) -> list[str]:
        """Why the server cannot do its work now; nothing when it can."""
        now = time.monotonic()
        reasons = []
        asked_at = self._asked_at
        if self._refused:
            reasons.append(self._refused)
        if now - self._answered_at > SILENT_S or (asked_at is not None and now - asked_at > OUTSTANDING_S):
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

    def _keep_checking(self) -> None:
        """Check the store until the server stops: one check at a time, however long it takes."""
        while not self._ending.wait(CHECK_S):
            try:
                self._check_store()
            except Exception:
                log.exception("an error while checking the store")

    def _check_store(self) -> None:
        """A read and a small write: a store may still answer the one and refuse the other, as with a full disk."""
        began = self._asked_at = time.monotonic()
        try:
            self._store.get(PROBE)
            if self._refused or began - self._probed_at >= PROBE_S:
                self._store.txn([], [Put(PROBE, _PROBE_VALUE)])
                self._probed_at = began
        except StoreError as error:
            if str(error) != self._refused:
                log.warning("the store does not answer or takes no writes: %s", error)
            self._refused = str(error)
            return
        finally:
            self._asked_at = None
        self._refused = ""
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

    def _finish_what_an_outage_left(self) -> None:
        try:
            there = unfinished_journals(self._store)
            if finish_journals(self._store, there & self._left_half_done):
                log.warning("finished changes that an outage of the store had left half done")
            self._left_half_done = there
        except StoreError as error:
            log.warning("changes left half done could not be looked for: %s", error)

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
        self._ending.set()
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
    running = RunningServer(site, host, store)
    try:
        running.start()
    except OSError as error:
        running.stop()
        raise ServerError(f"cannot serve at {site.listen}: {_why_not(error)}") from error
    except StoreError as error:
        running.stop()
        raise ServerError(f"the store does not answer: {error}") from error
    _spare_the_collector()
    # Threads hand over to each other all the time here; the usual 5 ms would be most of an order's way to its agent.
    sys.setswitchinterval(0.001)
    log.info("listening at %s", running.url)
    return running


def _spare_the_collector() -> None:
    """What has been loaded so far stays for good: the garbage collector need not look at it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 20, 20)


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


def _why_not(error: OSError) -> str:
    # cheroot makes one error of all that it tried, and only the text tells which they were.
    if error.errno == errno.EADDRINUSE or os.strerror(errno.EADDRINUSE) in str(error):
        return "another program listens there"
    return error.strerror or str(error)


def _new_uid() -> str:
    return secrets.token_hex(8)
