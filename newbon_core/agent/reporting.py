"""What the server has been told: statuses are sent until a reply acknowledges them."""

from __future__ import annotations

from newbon_core.agent.executor import Executor
from newbon_core.model import InstanceStatus
from newbon_core.model.wire import ContainerSample, HostSample, Report, ReportReply


class Reporter:
    """Builds reports from an executor. One report is under way at a time; the caller ends it with
    ``acknowledge`` or ``failed``. Sans I/O, not thread-safe."""

    def __init__(self, executor: Executor, boot_id: str, heartbeat_s: float = 2.0) -> None:
        self.heartbeat_s = heartbeat_s
        self._executor = executor
        self._boot_id = boot_id
        self._unsent: dict[str, InstanceStatus] = {}
        self._full_wanted = True
        self._last_sent_at: float | None = None
        self._last_errors: dict[str, str] = {}
        self._failures = 0

    def due_at(self, now: float) -> float:
        """When the next report should go out: at once when something changed, else with the next heartbeat.

        After ``failed`` it waits 0.1 s, 0.2 s, 0.4 s, … up to a heartbeat.
        """
        self._collect()
        if self._failures and self._last_sent_at is not None:
            return self._last_sent_at + min(0.05 * 2.0 ** min(self._failures, 20), self.heartbeat_s)
        if self._unsent or self._last_sent_at is None or self._executor.runtime_errors != self._last_errors:
            return now
        if self._full_wanted and self._executor.settled:
            return now
        return self._last_sent_at + self.heartbeat_s

    def report(
        self, now: float, host: HostSample | None = None, containers: tuple[ContainerSample, ...] = ()
    ) -> Report:
        """The report to send now: full as soon as the node is settled after a (re)connection, else what is new."""
        self._collect()
        full = self._full_wanted and self._executor.settled
        self._last_sent_at = now
        self._last_errors = self._executor.runtime_errors
        return Report(
            node=self._executor.node,
            boot_id=self._boot_id,
            sent_at=now,
            statuses=self._executor.statuses() if full else tuple(self._unsent.values()),
            full=full,
            runtime_errors=self._last_errors,
            host=host,
            containers=containers,
        )

    def acknowledge(self, report: Report, reply: ReportReply) -> None:
        """The server has it. Statuses that changed since it was made are still to be sent."""
        self.heartbeat_s = reply.heartbeat_s
        self._failures = 0
        if not reply.registered:
            self._full_wanted = True
            return
        for status in report.statuses:
            if self._unsent.get(status.uid) == status:
                del self._unsent[status.uid]
        if report.full:
            self._full_wanted = False

    def failed(self) -> None:
        """The report did not get through, or nobody knows: everything is told again at the next chance."""
        self._full_wanted = True
        self._failures += 1

    def reconnected(self) -> None:
        """The server may be another, or have lost what it knew: tell everything."""
        self._full_wanted = True

    def _collect(self) -> None:
        for status in self._executor.take_changed():
            self._unsent[status.uid] = status
