"""The one thread that owns executor and reporter. Others post to it; it steps at once, without polling."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TypeVar

from newbon_core.agent.actions import Action, Result
from newbon_core.agent.executor import Executor
from newbon_core.agent.link import Link
from newbon_core.agent.monitor import Monitor
from newbon_core.agent.plan import ExecutorSettings
from newbon_core.agent.reporting import Reporter
from newbon_core.agent.workers import ThreadWorkers
from newbon_core.client import ApiProblem, ClientError
from newbon_core.hooks import Container, RegistryCredentials, Runtime
from newbon_core.model.wire import Report, ReportReply

_log = logging.getLogger(__name__)
T = TypeVar("T")


class SteadyClock:
    """Seconds since the epoch as of the start of this process, going on evenly though the machine's clock be set: an
    hour back must not mean an hour without a heartbeat."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def __call__(self) -> float:
        """Now."""
        return self._offset + time.monotonic()


class Core:
    """Executor, workers and reporter of one node, run by one thread; a second one sends the reports.

    ``on_unregistered`` is called (by the sending thread) when the server does not know the node.
    """

    def __init__(
        self,
        node: str,
        owner: str,
        boot_id: str,
        runtimes: Mapping[str, Runtime],
        settings: ExecutorSettings,
        credentials: Mapping[str, RegistryCredentials],
        monitor: Monitor,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._workers = ThreadWorkers(runtimes, self._done, self._progress, credentials)
        self.executor = Executor(node, runtimes, self._workers, settings, owner)
        self.reporter = Reporter(self.executor, boot_id)
        self._monitor = monitor
        self._clock = clock or SteadyClock()
        self._inbox: deque[Callable[[], None]] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._outbox: tuple[Report, list[Container]] | None = None
        self._sending = False
        self._sampled_at = 0.0
        self._link: Link | None = None
        self._threads: list[threading.Thread] = []
        self.on_unregistered: Callable[[], None] = lambda: None
        self.on_lost_contact: Callable[[str], None] = lambda why: None  # noqa: ARG005  nobody listens by default

    def start(self, link: Link) -> None:
        """Begin to step and to report over the link."""
        self._link = link
        for target, name in ((self._step_loop, "newbon-agent-core"), (self._send_loop, "newbon-agent-report")):
            thread = threading.Thread(target=target, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def post(self, task: Callable[[], None]) -> None:
        """Run it in the core's thread, then step."""
        with self._wake:
            self._inbox.append(task)
            self._wake.notify_all()

    def ask(self, question: Callable[[], T], timeout_s: float = 5.0) -> T | None:
        """The answer from the core's thread; None when it does not come in time."""
        answers: list[T] = []
        answered = threading.Event()

        def task() -> None:
            answers.append(question())
            answered.set()

        self.post(task)
        return answers[0] if answered.wait(timeout_s) else None

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop stepping and reporting; containers go on."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        for thread in self._threads:
            thread.join(timeout_s)
        self._workers.close(timeout_s=0.5)

    # --- the stepping thread ----------------------------------------------------------------------------------------

    def _done(self, result: Result) -> None:
        self.post(lambda: self.executor.complete(result))

    def _progress(self, action: Action, message: str) -> None:
        self.post(lambda: self.executor.progress(action, message))

    def _step_loop(self) -> None:
        while True:
            with self._wake:
                if self._stopping:
                    return
                tasks = list(self._inbox)
                self._inbox.clear()
            try:
                for task in tasks:
                    task()
                wake_at = self._step()
            except Exception:  # noqa: BLE001  whatever it was, the node must go on; the next step begins from what is known
                _log.exception("a step of the agent failed")
                wake_at = self._clock() + 1.0
            with self._wake:
                if not self._inbox and not self._stopping:
                    self._wake.wait(None if wake_at is None else max(0.0, wake_at - self._clock()))

    def _step(self) -> float | None:
        now = self._clock()
        wake_at = self.executor.step(now)
        due_at = self.reporter.due_at(now)
        if self._sending or self._outbox is not None:
            return wake_at
        if due_at <= now:
            running = [container for _, container in self.executor.running()]
            with self._wake:
                self._outbox = (self.reporter.report(now), running)
                self._sending = True
                self._wake.notify_all()
            return wake_at
        return due_at if wake_at is None else min(due_at, wake_at)

    # --- the sending thread -----------------------------------------------------------------------------------------

    def _send_loop(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._outbox is not None or self._stopping)
                if self._stopping:
                    return
                assert self._outbox is not None
                report, running = self._outbox
                self._outbox = None
            reply = self._send(report, running)
            self.post(partial(self._sent, report, reply))

    def _send(self, report: Report, running: list[Container]) -> ReportReply | None:
        assert self._link is not None
        try:
            return self._link.report(self._with_samples(report, running))
        except (ClientError, OSError) as error:
            if not (isinstance(error, ApiProblem) and error.status == 429):
                self.on_lost_contact(str(error))
            return None

    def _with_samples(self, report: Report, running: list[Container]) -> Report:
        """Add the load, at the heartbeat's pace however many reports there are."""
        now = self._clock()
        if now - self._sampled_at < self.reporter.heartbeat_s * 0.9:
            return report
        self._sampled_at = now
        try:
            return replace(report, host=self._monitor.host(now), containers=self._monitor.containers(running, now))
        except OSError as error:
            _log.warning("the host cannot be measured: %s", error)
            return report

    def _sent(self, report: Report, reply: ReportReply | None) -> None:
        self._sending = False
        if reply is None:
            self.reporter.failed()
            return
        self.reporter.acknowledge(report, reply)
        if not reply.registered:
            self.on_unregistered()
