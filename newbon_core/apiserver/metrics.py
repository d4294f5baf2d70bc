"""What the server measures of itself, in a registry of its own."""

from __future__ import annotations

import threading
import time
from collections import Counter as Counts
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from newbon_core.model import state_of
from newbon_core.state import Cache, ObjectChange

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """Counters that the handlers and the mains raise, and the state of the cache as it is when asked."""

    def __init__(self, cache: Cache, host: Any = None) -> None:
        self.registry = CollectorRegistry()
        self._lock = threading.Lock()
        self._open: Counts[str] = Counts()
        self.requests = Counter(
            "newbon_requests", "Requests answered.", ("method", "view", "status"), registry=self.registry
        )
        self.request_seconds = Histogram(
            "newbon_request_seconds",
            "Time to answer, streams excepted.",
            ("view",),
            buckets=_FAST,
            registry=self.registry,
        )
        self.commit_seconds = Histogram(
            "newbon_commit_seconds",
            "Time the store takes to commit a request's change.",
            buckets=_FAST,
            registry=self.registry,
        )
        self.store_seconds = Histogram(
            "newbon_store_read_seconds", "Time the store takes to answer a read.", buckets=_FAST, registry=self.registry
        )
        self.report_seconds = Histogram(
            "newbon_report_seconds", "Time to take an agent's report.", buckets=_FAST, registry=self.registry
        )
        self.step_seconds = Histogram(
            "newbon_control_step_seconds", "Time of a step of the control loop.", buckets=_FAST, registry=self.registry
        )
        self.step_errors = Counter(
            "newbon_control_errors", "Steps of the control loop that failed.", registry=self.registry
        )
        self.placement_seconds = Histogram(
            "newbon_placement_wait_seconds",
            "From an instance's creation to its placement.",
            buckets=(*_FAST, 30, 60, 300),
            registry=self.registry,
        )
        self.placements = Counter("newbon_placements", "Instances that were given a node.", registry=self.registry)
        self.bad_tokens = Gauge("newbon_bad_tokens", "Requests with a bad token so far.", registry=self.registry)
        self.streams_open = Gauge("newbon_streams_open", "Open streams.", ("kind",), registry=self.registry)
        self.watch_lag = Gauge(
            "newbon_cache_age_seconds",
            "Time since the cache last heard from the store's watch.",
            registry=self.registry,
        )
        self.registry.register(_CacheCollector(cache, host))
        cache.subscribe(self._note)

    @contextmanager
    def stream(self, kind: str) -> Iterator[None]:
        """Count an open stream of this kind."""
        with self._lock:
            self._open[kind] += 1
        self.streams_open.labels(kind).inc()
        try:
            yield
        finally:
            with self._lock:
                self._open[kind] -= 1
            self.streams_open.labels(kind).dec()

    def watches(self) -> int:
        """How many watches are open."""
        return self._open["watch"]

    @contextmanager
    def commit(self) -> Iterator[None]:
        """Time a commit."""
        with self.commit_seconds.time():
            yield

    @contextmanager
    def report(self) -> Iterator[None]:
        """Time an agent's report."""
        with self.report_seconds.time():
            yield

    def answered(self, method: str, view: str, status: int, began: float, *, streamed: bool) -> None:
        """Count a request; ``began`` is of ``time.perf_counter``."""
        self.requests.labels(method, view, str(status)).inc()
        if not streamed:
            self.request_seconds.labels(view).observe(time.perf_counter() - began)

    def render(self) -> bytes:
        """All of it in Prometheus' text format."""
        found: bytes = generate_latest(self.registry)
        return found

    def _note(self, changes: list[ObjectChange], revision: int) -> None:
        del revision
        for change in changes:
            if change.kind.__name__ != "Instance" or change.new is None:
                continue
            new: Any = change.new
            old: Any = change.old
            if new.placed_at is not None and (old is None or old.placed_at is None):
                self.placements.inc()
                self.placement_seconds.observe(max(new.placed_at - new.created_at, 0.0))


class _CacheCollector(Collector):
    """The state of things, counted when it is asked for."""

    def __init__(self, cache: Cache, host: Any) -> None:
        self._cache = cache
        self._host = host

    def collect(self) -> Iterable[Metric]:
        cache = self._cache
        yield GaugeMetricFamily(
            "newbon_cache_revision", "The store's revision that the cache has seen.", cache.revision
        )
        yield GaugeMetricFamily("newbon_undecodable_objects", "Objects that cannot be read.", len(cache.undecodable))
        yield GaugeMetricFamily("newbon_services", "Services.", len(cache.services))
        stored = list(cache.instances.values())
        states = Counts(state_of(one.value, cache.status_of(one.value)).value for one in stored)
        instances = GaugeMetricFamily("newbon_instances", "Instances by state.", labels=("state",))
        for state, count in sorted(states.items()):
            instances.add_metric((state,), count)
        yield instances
        nodes = GaugeMetricFamily("newbon_nodes", "Nodes by state.", labels=("state",))
        for state, count in sorted(Counts(one.value.state.value for one in list(cache.nodes.values())).items()):
            nodes.add_metric((state,), count)
        yield nodes
        if self._host is not None:
            yield from self._plugins()

    def _plugins(self) -> Iterable[Metric]:
        calls = CounterMetricFamily("newbon_plugin_calls", "Calls of a plugin's hooks.", labels=("plugin",))
        errors = CounterMetricFamily("newbon_plugin_errors", "Calls that failed.", labels=("plugin",))
        seconds = CounterMetricFamily("newbon_plugin_seconds", "Time spent in a plugin's hooks.", labels=("plugin",))
        for info in self._host.plugins:
            calls.add_metric((info.name,), info.calls)
            errors.add_metric((info.name,), info.errors)
            seconds.add_metric((info.name,), info.seconds)
        yield from (calls, errors, seconds)
