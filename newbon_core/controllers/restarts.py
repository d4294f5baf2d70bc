"""Whether an instance that finished by itself is replaced, and how long its replacement waits."""

from __future__ import annotations

from dataclasses import dataclass

from newbon_core.model import Instance, InstanceState, InstanceStatus, Restart


@dataclass(frozen=True, slots=True)
class Again:
    """A replacement that must not be placed before ``not_before``; ``failures`` is its count of failures in a row."""

    failures: int
    not_before: float


def next_restart(restart: Restart, instance: Instance, status: InstanceStatus, now: float) -> Again | None:
    """What follows on a finished instance that nobody told to stop; None: nothing, it has done its work.

    ``always`` replaces it whatever its exit code, ``on-failure`` only where it failed, ``never`` not at all. An
    instance lost with its node did not finish: it is replaced under every policy, and that is not decided here. Every
    end by itself counts as one failure for the backoff, also a clean exit under ``always``, or a container that exits
    at once would be made anew without end.
    """
    if restart.policy == "never" or (restart.policy == "on-failure" and status.state is not InstanceState.FAILED):
        return None
    failures = (0 if _ran_s(status) >= restart.reset_after_s else instance.failures) + 1
    return Again(failures, now + backoff_s(restart, failures))


def backoff_s(restart: Restart, failures: int) -> float:
    """How long the replacement after the n-th failure in a row waits."""
    if failures < 1:
        return 0.0
    wait = restart.backoff_s
    for _ in range(min(failures - 1, 1000)):
        wait *= restart.factor
        if wait >= restart.max_backoff_s:
            break
    return min(wait, restart.max_backoff_s)


def _ran_s(status: InstanceStatus) -> float:
    """Seconds it ran, both times being of the same clock."""
    if status.started_at is None or status.finished_at is None:
        return 0.0
    return max(0.0, status.finished_at - status.started_at)
