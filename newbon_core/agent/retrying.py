"""What happens to a unit of which an action failed."""

from __future__ import annotations

from newbon_core.agent.actions import Failure
from newbon_core.agent.plan import ExecutorSettings, Unit
from newbon_core.model.wire import tried_again


def failed_to_start(unit: Unit, failure: Failure, now: float, settings: ExecutorSettings) -> None:
    """A pull or a start failed: try again later, or give up."""
    if not failure.retry or unit.attempts + 1 >= settings.start_attempts:
        unit.failure = failure.message
        unit.trouble = None
    else:
        wait(unit, failure.message, now, settings)


def wait(unit: Unit, trouble: str, now: float, settings: ExecutorSettings) -> None:
    """Leave it alone for longer each time, and say why."""
    pause_s = min(settings.retry_first_s * 2**unit.attempts, settings.retry_max_s)
    unit.attempts += 1
    unit.retry_at = now + pause_s
    unit.trouble = tried_again(trouble, pause_s)
